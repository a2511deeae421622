"""Where older flow code looks for `tool`."""
