"""Statistics over the trials of a study; every function returns a DataFrame or a number, none draws."""
