"""One file a page; each asks the library and shows the answer."""
