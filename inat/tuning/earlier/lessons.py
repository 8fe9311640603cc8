"""What a search learns from earlier studies, mapped onto its own space, as study.json keeps it.

study.json holds all that the search needs, so a resumed search goes on alike even if the earlier studies are gone.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ray.tune.search.sample import Domain

from analysis.wording import counted
from inat.config.search import SearchConfig
from inat.config.validation import expanded
from inat.errors import ConfigError
from inat.tuning.earlier.ranking import ranks_of
from inat.tuning.earlier.read import EarlierStudy, read_earlier
from inat.tuning.sampling.prior import PARAMS, RANK
from inat.tuning.space.domains import to_domain_value

LEARNED_FROM = "learned_from"  # in study.json
STUDIES, TRIALS = "studies", "trials"
MOST = 200  # trials of each study that are kept, so that study.json stays small; the best quarter is among them
SHOWN = 3  # values of a hyperparameter that are named as left out
Lesson = tuple[float, dict[str, Any]]  # rank, and the hyperparameters that the present space has


@dataclass(frozen=True, slots=True)
class Lessons:
    """What was learned: ``record`` for study.json, and the configurations to try ``first``."""

    record: Mapping[str, Any]
    first: Sequence[dict[str, Any]]


def learn(config: SearchConfig, space: Mapping[str, Domain], fingerprint: str) -> Lessons | None:
    """Read the studies of --learn-from and map their trials onto ``space``; None without the option.

    Raises ConfigError or StudyError for a study that cannot be learned from.
    """
    paths = list(dict.fromkeys(expanded(path).resolve() for path in config.learn_from))
    if not paths:
        return None
    studies = [_mapped(read_earlier(path, config.objective, config.KIND), space, fingerprint) for path in paths]
    lessons = [lessons for _, lessons in studies]
    record = {
        STUDIES: [described for described, _ in studies],
        TRIALS: [{RANK: rank, PARAMS: params} for each in lessons for rank, params in _kept(each)],
    }
    return Lessons(record, _first(lessons))


def _mapped(study: EarlierStudy, space: Mapping[str, Domain], fingerprint: str) -> tuple[dict[str, Any], list[Lesson]]:
    """The description of a study for study.json, and its lessons, the best first."""
    outside: dict[str, list[Any]] = {}
    lessons: list[Lesson] = []
    for rank, trial in zip(ranks_of(study.trials), study.trials, strict=True):
        params = {}
        for name, value in trial.params.items():
            try:
                params[name] = to_domain_value(space[name], value)
            except KeyError:
                outside.setdefault(name, [])
            except (ValueError, TypeError, OverflowError):
                outside.setdefault(name, []).append(value)
        lessons.append((round(rank, 4), params))
    if not any(params for _, params in lessons):
        raise ConfigError(
            f"--learn-from {study.path} has no hyperparameter with values of this search's space; leave it out"
        )
    described = {
        "path": str(study.path),
        "trials": len(study.trials),
        "failed": study.failed,
        "objective": study.objective,
        "ranked_by": study.metric,
        "unit": study.unit,
        "same_images": study.fingerprint == fingerprint if study.fingerprint else None,
        "not_in_space": sorted(name for name in outside if name not in space),
        "outside": {name: _texts(outside[name]) for name in sorted(outside) if name in space},
    }
    return described, sorted(lessons, key=lambda lesson: -lesson[0])


def _texts(values: Sequence[Any]) -> list[str]:
    return sorted({f"{value:.4g}" if isinstance(value, float) else str(value) for value in values})


def _kept(lessons: Sequence[Lesson]) -> Iterable[Lesson]:
    """All lessons of a study, or the best quarter of MOST and evenly spaced ones of the others."""
    if len(lessons) <= MOST:
        return lessons
    good, others = lessons[: MOST // 4], lessons[MOST // 4 :]
    wanted = MOST - len(good)
    return [*good, *(others[int((i + 0.5) * len(others) / wanted)] for i in range(wanted))]


def _first(studies: Sequence[Sequence[Lesson]]) -> list[dict[str, Any]]:
    """The configurations to try first: the best of each study that has a value of this space."""
    best = (next((params for _, params in lessons if params), {}) for lessons in studies)
    return [params for params in best if params]


def describe_learning(info: Mapping[str, Any], searcher: str) -> list[str]:
    """A line for the terminal about each earlier study in study.json; [] if there is none."""
    lines = []
    for each in info.get(LEARNED_FROM, {}).get(STUDIES, ()):
        words = [f"{counted(each['trials'], 'trial')}, ranked by {each['ranked_by']}"]
        words += [f"it optimised {each['objective']}"] if each["objective"] != each["ranked_by"] else []
        words += ["of other images"] if each["same_images"] is False else []
        words += [f"left out: {left}" for left in [_left_out(each)] if left]
        lines.append(f"learn   from {each['path']}: {'; '.join(words)}")
    if lines and searcher == "gp":
        lines.append(f"learn   --searcher {searcher} takes the best configuration only; tpe has a prior, too")
    return lines


def _left_out(described: Mapping[str, Any]) -> str:
    """What of an earlier study this search does not use, as a part of a line."""
    parts = [", ".join(described["not_in_space"])] if described["not_in_space"] else []
    for name, values in described["outside"].items():
        more = f" and {len(values) - SHOWN} more" if len(values) > SHOWN else ""
        parts.append(f"{name} {', '.join(values[:SHOWN])}{more}")
    return ", ".join(parts)
