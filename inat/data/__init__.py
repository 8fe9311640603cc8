"""From a folder of labelled images to normalised batches."""
