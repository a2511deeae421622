"""Jobs in Python: the same plain values that a file says, put together by calls."""
