"""What Tune may write into its snapshots."""

from typing import Any


class NotInSnapshots:
    """Mixin for stoppers, callbacks, searchers and schedulers that hold files, locks, threads or functions.

    Tune pickles the objects of an experiment into its snapshots, from which it would restore them. A search is restored
    from its journal instead, so these objects are pickled without their state.
    """

    def __getstate__(self) -> dict[str, Any]:
        return {}
