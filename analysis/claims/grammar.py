"""The small language of claims.

batch_norm=True > batch_norm=False              the mean accuracy of one group beats that of another; a lower loss
                                                is the better one
conv_layers=5 > (3, 4)                          a value alone is of the parameter that was named last
activation in (relu, silu) > (mish, gelu)
conv_layers=5 best                              better than each other value (worst: worse than each)
first_layer_filters=32 & filter_org=0.5 poor    worse than all other trials together (good: better)
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from analysis.stats.encode import label_of

WORDS = ("best", "worst", "good", "poor")
_CONDITION = re.compile(r"(?:(?P<name>[^\s=<>&(),]+)\s*(?:=|\s+in\b)\s*)?(?P<values>\([^()]*\)|[^\s=<>&(),]+)$")


class ClaimError(ValueError):
    """A claim that cannot be read, or that is about something that the study does not have."""


@dataclass(frozen=True, slots=True)
class Condition:
    """A parameter that has one of some values, which are labels of analysis.stats.encode."""

    name: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Claim:
    """``group`` is better than ``rival`` (relation ">"), worse ("<"), or one of WORDS, without a rival."""

    text: str
    group: tuple[Condition, ...]
    relation: str
    rival: tuple[Condition, ...] = ()


def parse(text: str) -> Claim:
    """Read a claim; ClaimError, saying how claims look, if it is none."""
    text = text.strip()
    left, sign, right = text.partition("<" if "<" in text else ">")
    try:
        if sign:
            group = _group(left, None)
            return Claim(text, group, sign, _group(right, group[-1].name))
        words = text.rsplit(maxsplit=1)
        if len(words) == 2 and words[1] in WORDS:
            return _checked(Claim(text, _group(words[0], None), words[1]))
    except ClaimError as error:
        raise ClaimError(f"claim {text!r}: {error}") from None
    raise ClaimError(f"claim {text!r} has neither > nor < nor ends in {', '.join(WORDS)}; write a=1 > a=2 or a=1 best")


def _checked(claim: Claim) -> Claim:
    if claim.relation in ("best", "worst") and (len(claim.group) > 1 or len(claim.group[0].values) > 1):
        word = {"best": "good", "worst": "poor"}[claim.relation]
        raise ClaimError(f"{claim.relation} is of one value of one parameter; write {word} for a group of trials")
    return claim


def _group(text: str, name: str | None) -> tuple[Condition, ...]:
    conditions: list[Condition] = []
    for part in text.split("&"):
        match = _CONDITION.match(part.strip())
        name = match["name"] or name if match else None
        if not match or not name:
            raise ClaimError(f"{part.strip()!r} is no condition; write name=value or name in (a, b)")
        values = tuple(dict.fromkeys(_label(v) for v in match["values"].strip("()").split(",") if v.strip()))
        if not values:
            raise ClaimError(f"{name} has no value")
        conditions.append(Condition(name, values))
    return tuple(conditions)


def _label(text: str) -> str:
    """A value as analysis.stats.encode labels it: 1e-4 and 0.0001 are the same, and so are true and True."""
    text = text.strip().strip("'\"")
    if text.lower() in ("true", "false"):
        return text.capitalize()
    try:
        return label_of(float(text))
    except ValueError:
        return text


def read_claims(path: Path) -> list[Claim]:
    """The claims of a file, one a line; # begins a comment. ClaimError names the line that is none."""
    return parse_all(path.read_text(encoding="utf-8").splitlines(), str(path))


def parse_all(lines: Iterable[str], place: str) -> list[Claim]:
    """The claims of some lines."""
    claims = []
    for number, line in enumerate(lines, start=1):
        text = line.partition("#")[0].strip()
        try:
            claims += [parse(text)] if text else []
        except ClaimError as error:
            raise ClaimError(f"{place} line {number}: {error}") from None
    return claims
