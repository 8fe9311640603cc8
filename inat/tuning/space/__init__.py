"""What may be searched: presets, domains, grids, and the points that are tried first."""
