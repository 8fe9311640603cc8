"""One page about a study: what it found, and how far the findings can be trusted."""
