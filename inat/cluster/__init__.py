"""Look at the machines of a Ray cluster: before it starts, while it comes up, and while it searches."""
