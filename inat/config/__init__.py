"""What a training and a search need: frozen dataclasses that check themselves; loads no heavy library."""
