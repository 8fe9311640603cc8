"""Read study directories into pandas; imports neither torch nor ray."""
