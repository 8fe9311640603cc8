"""Look at the images of a data set before a search: `python -m inat.data.inspect PHOTOS`."""
