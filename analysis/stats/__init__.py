"""Statistics over the trials of a study. Functions return tables or numbers; `analysis.figures` draws them."""
