"""One training from its configuration to its metrics, and evaluation and inference with its checkpoint; without Ray."""
