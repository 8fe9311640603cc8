"""Whether a search begins with a race; torch loads only for one that does."""

from typing import TYPE_CHECKING

from inat.config.finetune import FinetuneConfig
from inat.config.search import SearchConfig

if TYPE_CHECKING:
    from inat.tuning.racing.probing import PrintLine
    from inat.tuning.racing.race import Race


def race_if_asked(config: SearchConfig, print_line: "PrintLine") -> "Race | None":
    """Race the backbones of a new search with --preset; None for another search and for one that is resumed.

    A resumed search has the chosen backbones in its options.
    """
    if not isinstance(config, FinetuneConfig) or config.preset is None or config.resume is not None:
        return None
    from inat.tuning.racing.race import run_race

    return run_race(config, print_line)
