"""Whether studies were made with the same photos in the same splits; only then can their results be compared."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from analysis.readers.data_records import read_splits
from analysis.schema import PATH, SPLIT, TEST, TRAIN, VAL
from analysis.study import StudyData
from analysis.wording import counted

# Settings that decide the splits, with their values in studies of earlier versions, which did not have the setting.
EARLIER_SETTINGS = {
    "test_fraction": 0.2, "group_by": None, "keep_duplicates": True, "labels": None, "folds": 1, "repeats": 1,
}  # fmt: skip
OPTION = "--different-data"
LENGTH_OF_DIGEST = 32  # hexadecimal digits, at least


class DifferentDataError(ValueError):
    """Studies whose results are about different photos."""


@dataclass(frozen=True, slots=True)
class DataIdentity:
    """What a study records about its photos and splits.

    ``fingerprint``: of the photos, "" if unknown. ``source``: the folder or name that the search was given. ``splits``:
    the split of each photo by its path, empty if unknown. ``counts``: photos of each split. ``settings``: the options
    that decide the splits.
    """

    fingerprint: str = ""
    source: str = ""
    splits: dict[str, str] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)

    def digest(self, split: str) -> str:
        """Eight digits that identify the photos of a split; "" if they are unknown.

        >>> DataIdentity(splits={"a/1.jpg": "test", "a/2.jpg": "train"}).digest("test")
        '35f4aeeb'
        """
        paths = sorted(path for path, name in self.splits.items() if name == split)
        text = "\n".join(paths).encode(errors="surrogateescape")
        return hashlib.sha256(text).hexdigest()[:8] if paths else ""


def identity_of(study: StudyData) -> DataIdentity:
    """What a study records about its data; everything is unknown for studies of other tools."""
    data, config = study.info.get("data"), study.info.get("config")
    recorded: dict[str, Any] = data if isinstance(data, dict) else {}
    settings: dict[str, Any] = config if isinstance(config, dict) else {}
    if not recorded.get("fingerprint"):
        return DataIdentity()
    splits = _splits_of(study)
    counts = dict(pd.Series(list(splits.values()), dtype=object).value_counts()) if splits else {}
    return DataIdentity(
        fingerprint=str(recorded["fingerprint"]),
        source=str(recorded.get("source", "")),
        splits=splits,
        counts={str(name): int(count) for name, count in counts.items()},
        settings={name: settings.get(name, earlier) for name, earlier in EARLIER_SETTINGS.items()},
    )


def _splits_of(study: StudyData) -> dict[str, str]:
    table = read_splits(study.path) if study.path is not None else None
    return {} if table is None else dict(zip(table[PATH], table[SPLIT], strict=True))


def differences(studies: Mapping[str, StudyData]) -> list[str]:
    """How the data of each other study differs from that of the first one with a record; empty if nothing differs.

    What a study does not record cannot differ: see ``describe_data``.

    >>> differences({"first": study, "second": study})
    []
    """
    known = {name: identity for name, study in studies.items() if (identity := identity_of(study)).fingerprint}
    if not known:
        return []
    first, *others = known
    return [text for name in others if (text := _difference(first, known[first], name, known[name]))]


def _difference(first: str, a: DataIdentity, second: str, b: DataIdentity) -> str:
    """How the data of the study ``second`` differs from that of ``first``, as a clause; "" if it does not."""
    if a.fingerprint != b.fingerprint:
        return f"{first} and {second} have different photos ({_photos(a)} and {_photos(b)})"
    changed = [name for name in EARLIER_SETTINGS if a.settings[name] != b.settings[name]]
    if a.splits and b.splits:
        moved = [path for path in a.splits.keys() | b.splits.keys() if a.splits.get(path) != b.splits.get(path)]
        changed = [name for name in changed if name in ("folds", "repeats")]  # the others show in the splits
        if moved:
            example = min(moved)
            places = f"{example} is in {a.splits.get(example, 'none')} and {b.splits.get(example, 'none')}"
            return f"{first} and {second} have {counted(len(moved), 'photo')} in different splits ({places})"
    if not changed:
        return ""
    settings = ", ".join(f"{name} {a.settings[name]} and {b.settings[name]}" for name in changed)
    return f"{first} and {second} divide the same photos differently ({settings})"


def _photos(data: DataIdentity) -> str:
    number = f", {sum(data.counts.values()):,} photos" if data.counts else ""
    digest = len(data.fingerprint) >= LENGTH_OF_DIGEST  # other data is named, as in "scikit-learn digits"
    shown = data.fingerprint[:8] if digest else data.fingerprint
    return f"{data.source or 'unknown source'}{number}, fingerprint {shown}"


def check_same_data(studies: Mapping[str, StudyData]) -> None:
    """Raise DifferentDataError, which names the studies, if their results are about different photos or splits."""
    found = differences(studies)
    if found:
        raise DifferentDataError(
            f"the studies cannot be compared: {'; '.join(found)}; leave one out, or pass {OPTION} to see them anyway"
        )


def describe_data(studies: Mapping[str, StudyData]) -> str:
    """One sentence about the photos of the studies, to print above their comparison.

    >>> describe_data({"first": study})
    'Photos: first does not record them.'
    """
    identities = {name: identity_of(study) for name, study in studies.items()}
    if found := differences(studies):
        return f"Different data: {'; '.join(found)}. Accuracies on different photos say nothing about each other."
    unknown = [name for name, identity in identities.items() if not identity.fingerprint]
    listed = ", ".join(unknown)
    missing = f"{listed} {'does' if len(unknown) == 1 else 'do'} not record them"
    known = [identity for identity in identities.values() if identity.fingerprint]
    if not known:
        return f"Photos: {missing}."
    same = f"Photos: {_photos(known[0])}{_same_splits(known)}"
    return f"{same}; {missing}." if unknown else f"{same}."


def _same_splits(known: list[DataIdentity]) -> str:
    """What is known about the splits of studies with the same photos."""
    recorded = next((one for one in known if one.splits), None)
    if recorded is None:
        return "; no study records its splits, but the settings that decide them are equal" if len(known) > 1 else ""
    parts = [
        f"{recorded.counts[name]:,} {name} ({recorded.digest(name)})"
        for name in (TRAIN, VAL, TEST)
        if name in recorded.counts
    ]
    whose = "" if all(one.splits for one in known) else " as far as they are recorded"
    return f"; {'the same splits' if len(known) > 1 else 'splits'}{whose}: {', '.join(parts)}"
