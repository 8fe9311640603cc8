"""Lightning callbacks of the user, on their way from the search to its trials."""

from collections.abc import Sequence

import pytorch_lightning as pl
from ray import cloudpickle

from inat.errors import ConfigError


def dump(callbacks: Sequence[pl.Callback]) -> bytes:
    """Pickle ``callbacks``, by value if they are defined in a script or a notebook; ConfigError if one cannot be."""
    try:
        dumped: bytes = cloudpickle.dumps(list(callbacks))
    except Exception as error:  # whatever an object inside raises
        raise ConfigError(
            f"a Lightning callback cannot be pickled for the trials ({type(error).__name__}: {error}); open files and "
            "connections in its setup()"
        ) from error
    return dumped


def load(dumped: bytes) -> list[pl.Callback]:
    """New copies of the callbacks, which belong to one trial; [] for b""."""
    return list(cloudpickle.loads(dumped)) if dumped else []
