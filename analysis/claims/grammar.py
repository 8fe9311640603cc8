"""Parse claims about hyperparameters.

batch_norm=True > batch_norm=False              one group of trials has a better mean than another (a loss: a lower one)
conv_layers=5 > (3, 4)                          a value without a name belongs to the parameter named last
activation in (relu, silu) > (mish, gelu)
conv_layers=5 best                              better than each other value ("worst": worse than each other value)
first_layer_filters=32 & filter_org=0.5 poor    worse than all other trials together ("good": better)
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from analysis.stats.encode import label_of

WORDS = ("best", "worst", "good", "poor")
_CONDITION = re.compile(r"(?:(?P<name>[^\s=<>&(),]+)\s*(?:=|\s+in\b)\s*)?(?P<values>\([^()]*\)|[^\s=<>&(),]+)$")


class ClaimError(ValueError):
    """A claim that cannot be parsed, or that is about something that the study did not vary."""


@dataclass(frozen=True, slots=True)
class Condition:
    """A parameter with one of several values, written as labels of ``analysis.stats.encode``."""

    name: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Claim:
    """``group`` is better (relation ">") or worse ("<") than ``rival``; or, without a rival, one of WORDS."""

    text: str
    group: tuple[Condition, ...]
    relation: str
    rival: tuple[Condition, ...] = ()


def parse(text: str) -> Claim:
    """Parse a claim; raises ClaimError, with an example, if the text is not a claim.

    >>> parse("conv_layers=4 > (2, 3)").rival
    (Condition(name='conv_layers', values=('2', '3')),)
    """
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
    raise ClaimError(
        f"claim {text!r} needs > or <, or one of {', '.join(WORDS)} at its end; write a=1 > a=2 or a=1 best"
    )


def _checked(claim: Claim) -> Claim:
    if claim.relation in ("best", "worst") and (len(claim.group) > 1 or len(claim.group[0].values) > 1):
        word = {"best": "good", "worst": "poor"}[claim.relation]
        raise ClaimError(
            f"{claim.relation} needs a single value of a single parameter; use {word} for a group of trials"
        )
    return claim


def _group(text: str, name: str | None) -> tuple[Condition, ...]:
    conditions: list[Condition] = []
    for part in text.split("&"):
        match = _CONDITION.match(part.strip())
        name = match["name"] or name if match else None
        if not match or not name:
            raise ClaimError(f"{part.strip()!r} is not a condition; write name=value or name in (a, b)")
        values = tuple(dict.fromkeys(_label(v) for v in match["values"].strip("()").split(",") if v.strip()))
        if not values:
            raise ClaimError(f"{name} has no value; write {name}=value")
        conditions.append(Condition(name, values))
    return tuple(conditions)


def _label(text: str) -> str:
    """The label of a value as in ``analysis.stats.encode``: 1e-4 is the same as 0.0001, and true the same as True."""
    text = text.strip().strip("'\"")
    if text.lower() in ("true", "false"):
        return text.capitalize()
    try:
        return label_of(float(text))
    except ValueError:
        return text


def read_claims(path: Path) -> list[Claim]:
    """Read the claims of a file, one per line; # starts a comment. A ClaimError names the line."""
    return parse_all(path.read_text(encoding="utf-8").splitlines(), str(path))


def parse_all(lines: Iterable[str], place: str) -> list[Claim]:
    """Parse the claims in ``lines``; ``place`` names their source in error messages."""
    claims = []
    for number, line in enumerate(lines, start=1):
        text = line.partition("#")[0].strip()
        try:
            claims += [parse(text)] if text else []
        except ClaimError as error:
            raise ClaimError(f"{place} line {number}: {error}") from None
    return claims
