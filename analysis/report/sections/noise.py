"""The section about the noise of the validation: which trials cannot be told from the best one."""

from pathlib import Path

import pandas as pd

from analysis.kept_scores import SHARES
from analysis.noise import Noise
from analysis.report.document import Item, Section, Table, section
from analysis.report.headline import best_trial
from analysis.side_by_side.evaluations import read_best_json
from analysis.study import StudyData
from analysis.study_noise import noise_of, why_not_compared

TITLE = "Trials like the best"
SHOWN = 30  # rows of the table: the trials nearest to the best one
SHARES_TEST = (
    "Trials whose answers are kept, beside their checkpoints, are compared photo by photo with McNemar's exact test. "
    "Of the other trials only the {metric} is known: their interval is that of two shares, which is wider."
)
SWAP_TEST = (
    "Trials whose answers are kept, beside their checkpoints, are compared photo by photo: the p value says how often "
    "swapping the answers of the two networks on random photos gives so large a difference in {metric}; the interval "
    "is that of a bootstrap of the photos. The {metric} of the other trials alone does not say how it varies, so they "
    "are not compared."
)
ALL_TESTS = (
    "The p values are corrected for the number of {tests} (Holm), each interval is for its comparison alone. It is "
    "about the trained networks; another seed of the same configuration may rank otherwise."
)


def noise_section(study: StudyData, path: Path) -> list[Section]:
    """The section; none where nothing can be said."""
    best_json = read_best_json(path)
    noise = noise_of(study, best_json, best_trial(study, best_json))
    if noise is not None:
        return [section("noise", TITLE, lambda: _items(noise))]
    reason = why_not_compared(study) if len(study.trials) > 1 else ""
    return [Section("noise", TITLE, [reason])] if reason else []


def how_to_read(noise: Noise) -> str:
    """How the trials were compared."""
    test = SHARES_TEST if noise.objective in SHARES else SWAP_TEST
    tests = "trials" if noise.objective in SHARES else "pairs of them"
    return f"{test.format(metric=noise.objective.short)} {ALL_TESTS.format(tests=tests)}"


def _items(noise: Noise) -> list[Item]:
    text = noise.describe()
    shown = nearest(noise)
    title = "The best trial against the others"
    if len(shown) < len(noise.table):
        title = f"The best trial against the {len(shown)} nearest of {len(noise.table)}"
    return [f"{text[:1].upper()}{text[1:]}.", Table("noise", title, shown, folded=True), how_to_read(noise)]


def nearest(noise: Noise, count: int = SHOWN) -> pd.DataFrame:
    """The comparisons with the best of the other trials, nearest first."""
    distance = noise.objective.sign * noise.table["difference"]
    return noise.table.loc[distance.sort_values(kind="stable").index].head(count).reset_index(drop=True)
