"""Which backbone? Probes of features, and a race that trains the leaders within a time budget."""
