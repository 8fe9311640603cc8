"""Download and unpack nature_12K: `python -m inat.data.download`."""
