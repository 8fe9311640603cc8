"""Defaults that give way: one that nobody chose must not refuse an option that somebody did choose."""

from typing import Any, Final

# The default of an option that __post_init__ computes from the other options. Its type is Any, so that the field has
# the type of the computed value.
UNSET: Final[Any] = None
