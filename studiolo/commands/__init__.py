"""The commands: each reads the request, calls one library function and shows the answer."""
