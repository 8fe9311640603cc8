"""Commands for a Ray cluster: check its hosts before it starts, wait until it is up, show what it is doing."""
