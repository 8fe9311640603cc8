"""The rows of a comparison: one group of trials for each study, network and freezing strategy."""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from analysis.comparable import mask_infinite
from analysis.schema import BEST_VAL_ACC, FAILED, STATE
from analysis.side_by_side.trial_costs import with_preparation
from analysis.stats.encode import label_of
from analysis.study import StudyData

SCRATCH = "scratch CNN"
GROUP_COLUMNS = ["study", "network", "strategy"]
# What may name a group in a legend, the shortest first.
LABEL_COLUMNS = (("strategy",), ("network", "strategy"), ("study", "strategy"), GROUP_COLUMNS)


@dataclass(frozen=True, slots=True)
class Group:
    """The trials of one study, network and strategy, also the failed ones; ``best`` is the best trial with a result."""

    study: str
    network: str
    strategy: str
    trials: pd.DataFrame
    data: StudyData

    @property
    def key(self) -> dict[str, str]:
        """Study, network and strategy by the names of their columns."""
        return dict(zip(GROUP_COLUMNS, (self.study, self.network, self.strategy), strict=True))

    @property
    def counted(self) -> pd.DataFrame:
        """The trials with a result."""
        return self.trials[self.trials[STATE].ne(FAILED) & mask_infinite(self.trials[BEST_VAL_ACC]).notna()]

    @property
    def best(self) -> pd.Series:
        """The trial with the best result."""
        counted = self.counted
        return counted.loc[(self.data.sign * counted[BEST_VAL_ACC]).idxmax()]


def groups_of(name: str, study: StudyData) -> Iterator[Group]:
    """The groups of a study that have a result, in order of appearance."""
    trials = with_network_and_strategy(with_preparation(study))
    for (network, strategy), rows in trials.groupby(["network", "strategy"], sort=False):
        group = Group(name, str(network), str(strategy), rows, study)
        if len(group.counted):
            yield group


def with_network_and_strategy(trials: pd.DataFrame) -> pd.DataFrame:
    """Add the columns ``network`` (the backbone, or SCRATCH) and ``strategy`` (with its k_layers; "-" without one)."""
    network = _texts(trials.get("backbone", pd.Series(SCRATCH, trials.index)))
    strategy = _texts(trials.get("strategy", pd.Series("-", trials.index)))
    if "k_layers" in trials:
        partial = trials["k_layers"].notna()
        strategy = strategy.where(~partial, strategy + " k=" + _texts(trials["k_layers"]))
    return trials.assign(network=network, strategy=strategy)


def _texts(column: pd.Series) -> pd.Series:
    return column.astype(object).map(lambda value: "-" if pd.isna(value) else label_of(value)).astype("str")


def group_labels(table: pd.DataFrame) -> pd.Series:
    """A short name for each row with GROUP_COLUMNS: as few of these columns as tell the rows apart.

    >>> table = pd.DataFrame({"study": ["a", "b"], "network": ["vit", "scratch CNN"], "strategy": ["lora", "-"]})
    >>> group_labels(table).tolist()
    ['lora', 'scratch CNN']
    """
    for columns in LABEL_COLUMNS:
        labels = [_label(row, columns) for row in table[GROUP_COLUMNS].astype("str").to_dict("records")]
        if len(set(labels)) == len(labels):
            break
    return pd.Series(labels, table.index, dtype="str")


def _label(row: Mapping[Hashable, str], columns: Sequence[str]) -> str:
    """The values of some columns; without a strategy, also the network."""
    named = [name for name in GROUP_COLUMNS if name in columns or (row["strategy"] == "-" and name == "network")]
    return " ".join(row[name] for name in named if row[name] != "-")
