"""One page about a study: what it found, and how far that can be trusted."""
