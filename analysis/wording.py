"""Words in texts: numbers and their nouns ("1 trial", "2 trials"), lists, and what differs between two trials."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

# Columns of the program's tables that count epochs; a hyperparameter such as warmup_epochs keeps its name.
UNIT_COLUMNS = (
    "epoch",
    "epochs",
    "epochs_spent",
    "epochs_saved",
    "epochs_per_trial",
    "epochs_to_best",
    "seconds_per_epoch",
    "early_epochs",
    "late_epochs",
)
# Not in "recipe epoch", a unit that a text may have already.
EPOCH = re.compile(r"(?<![A-Za-z])(?<!recipe[ _])epoch(?=s?(?![A-Za-z]))")


def counted(number: float, noun: str) -> str:
    """A whole number with its noun in the singular or plural.

    >>> counted(1, "trial"), counted(1200, "training iteration")
    ('1 trial', '1,200 training iterations')
    """
    return f"{number:,.0f} {noun if number == 1 else f'{noun}s'}"


def join_words(words: Sequence[object]) -> str:
    """A list as in a sentence.

    >>> join_words([3, 9, 27]), join_words(["A, B", "C"]), join_words(["A"])
    ('3, 9 and 27', 'A, B and C', 'A')
    """
    *others, last = map(str, words or [""])
    return f"{', '.join(others)} and {last}" if others else last


def counted_as(number: int, noun: str, verb: str = "are") -> str:
    """A number with its noun and "are", or another verb in the plural, in the singular or plural.

    >>> counted_as(1, "photo"), counted_as(2, "set", "have")
    ('1 photo is', '2 sets have')
    """
    singular = {"are": "is", "have": "has", "match": "matches"}[verb]
    return f"{counted(number, noun)} {singular if number == 1 else verb}"


def describe_ungrouped(count: int) -> str:
    """How many photos match no group, on the end of a sentence; "" for none.

    >>> describe_ungrouped(5)
    '; 5 photos match no group and count alone'
    """
    verb = "counts" if count == 1 else "count"
    return f"; {counted_as(count, 'photo', 'match')} no group and {verb} alone" if count else ""


def sentence_of(error: BaseException, length: int = 200) -> str:
    """An error on one line, as the end of a sentence.

    >>> sentence_of(TypeError("boolean value of NA\\n is ambiguous"))
    'TypeError: boolean value of NA is ambiguous'
    """
    text = " ".join(f"{type(error).__name__}: {error}".split()).rstrip(".: ")
    return text if len(text) <= length else f"{text[: length - 1]}…"


def unit_of(step: str) -> str:
    """The name of a column of steps as a noun in the singular.

    >>> unit_of("training_iteration"), unit_of("_step"), unit_of("epoch")
    ('training iteration', 'step', 'epoch')
    """
    return " ".join(step.replace("_", " ").split())


def in_unit(text: str, unit: str) -> str:
    """A text or column name of the program with ``unit`` in the place of "epoch".

    >>> in_unit("epochs_spent", "step"), in_unit("the same epoch on", "training iteration")
    ('steps_spent', 'the same training iteration on')
    >>> in_unit(in_unit("3 epochs", "recipe epoch"), "recipe epoch")
    '3 recipe epochs'
    """
    return EPOCH.sub(unit.replace(" ", "_") if "_" in text and " " not in text else unit, text)


def unit_columns(names: Iterable[str], unit: str) -> dict[str, str]:
    """The new names of those columns that count epochs, where the curves count ``unit``.

    >>> unit_columns(["trial_id", "epochs_spent", "warmup_epochs"], "step")
    {'epochs_spent': 'steps_spent'}
    """
    return {name: in_unit(name, unit) for name in names if name in UNIT_COLUMNS}


def other_params(of_search: Mapping[str, Any], refit: Mapping[str, Any]) -> list[str]:
    """The hyperparameters in which a refit differs from the trial of the search that it repeats, with their values.

    The recipe has other ones for other numbers of epochs and photos.

    >>> other_params({"width": 32, "learning_rate": 0.025}, {"width": 32, "learning_rate": 0.03})
    ['learning_rate 0.03']
    """
    return [f"{name} {value}" for name, value in refit.items() if of_search.get(name) != value]
