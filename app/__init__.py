"""The browser studio: asks and shows, does no work."""
