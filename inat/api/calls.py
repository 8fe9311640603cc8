"""What every call from Python has in common: its errors, what it prints, and the options that it takes."""

import dataclasses
import difflib
import logging
import sys
import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from analysis.terminal import quiet
from inat.caller import called_from_python
from inat.cli import check_interpreter, print_lines_in_notebooks
from inat.errors import ConfigError, system_error
from inat.home import replace_unwritable_home

# In a notebook without ipywidgets, Ray and tqdm say so in red when they are imported; no widget is drawn here.
warnings.filterwarnings("ignore", message="IProgress not found")
logging.getLogger("ray.widgets.util").setLevel(logging.WARNING)


@contextmanager
def call(*, verbose: bool) -> Iterator[None]:
    """Run a search or a retraining: what goes wrong is raised as InatError, and nothing is printed unless ``verbose``.

    Raises ConfigError outside of the main thread, and if Ray runs in this process already.
    """
    check_interpreter()
    if threading.current_thread() is not threading.main_thread():
        raise ConfigError("a search handles Ctrl-C, which only the main thread may; call it there")
    ray = sys.modules.get("ray")
    if ray is not None and ray.is_initialized():
        raise ConfigError(
            "Ray runs in this process already, and a search starts its own or joins one; call ray.shutdown() before"
        )
    replace_unwritable_home()
    print_lines_in_notebooks()
    with called_from_python(), quiet(not verbose), errors():
        yield


@contextmanager
def errors() -> Iterator[None]:
    """Raise what the operating system refuses as InatError."""
    try:
        yield
    except OSError as error:
        raise system_error(error) from error


def check_names(kind: type[Any], given: Mapping[str, Any], allowed: set[str] | None = None) -> None:
    """Raise ConfigError for a name that is no field of the dataclass ``kind``, or not among the ``allowed`` ones."""
    known = {field.name for field in dataclasses.fields(kind)} if allowed is None else allowed
    problems = [_unknown_errors(kind.__name__, name, known) for name in given if name not in known]
    if problems:
        raise ConfigError(*problems)


def _unknown_errors(kind: str, name: str, known: set[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"`help({kind})` lists the options"
    return f"unknown option {name!r}; {hint}"
