"""Check claims such as `batch_norm=True > batch_norm=False` against the trials of a study."""
