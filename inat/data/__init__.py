"""From a folder of labelled photographs to normalised batches."""
