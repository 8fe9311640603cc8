"""Claims such as `batch_norm=True > batch_norm=False`, tested against a study."""
