"""The settings of a training and of a search, as frozen dataclasses that check themselves; loads no heavy library."""
