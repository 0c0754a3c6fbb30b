"""What Flask promises holds wherever a request runs, and is the same as with Flask's own server."""
