"""Models brought in from elsewhere: pinned, verified, and only in formats that cannot run code."""
