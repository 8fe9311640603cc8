"""Numbers and their nouns in texts: "1 trial", "2 trials"."""

import re
from collections.abc import Iterable

# Columns of the program's tables that count epochs; a hyperparameter such as warmup_epochs keeps its name.
UNIT_COLUMNS = ("epoch", "epochs", "epochs_spent", "epochs_saved", "epochs_per_trial", "epochs_to_best")
EPOCH = re.compile(r"(?<![A-Za-z])epoch(?=s?(?![A-Za-z]))")


def counted(number: float, noun: str) -> str:
    """A whole number with its noun in the singular or plural.

    >>> counted(1, "trial"), counted(1200, "training iteration")
    ('1 trial', '1,200 training iterations')
    """
    return f"{number:,.0f} {noun if number == 1 else f'{noun}s'}"


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
    """
    return EPOCH.sub(unit.replace(" ", "_") if "_" in text and " " not in text else unit, text)


def unit_columns(names: Iterable[str], unit: str) -> dict[str, str]:
    """The new names of those columns that count epochs, where the curves count ``unit``.

    >>> unit_columns(["trial_id", "epochs_spent", "warmup_epochs"], "step")
    {'epochs_spent': 'steps_spent'}
    """
    return {name: in_unit(name, unit) for name in names if name in UNIT_COLUMNS}
