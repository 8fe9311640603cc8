"""What a trained model says of photographs.

    python -m inat.predict results/STUDY photo.jpg               # its best model, one photograph
    python -m inat.predict results/STUDY/final FOLDER --top 3    # all photographs in and below a folder
    python -m inat.predict best.ckpt FOLDER --output classes.csv # or .json
    python -m inat.predict best.ckpt FOLDER --format csv | ...   # lines as soon as they are known

A photograph that cannot be read is a line with the reason. The exit code is 0 if any could be read.
"""

import json
import re
import sys
import time
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Literal, TextIO

import tyro
from rich.console import Console
from rich.progress import track
from rich.table import Table
from rich.text import Text

from inat.cli import run_command
from inat.config.validation import positive_errors, raise_if_any
from inat.data.image_folder import list_images
from inat.errors import ConfigError, DataError
from inat.study.atomic_io import atomic_replace, csv_lines
from inat.training.inference import Model, Prediction, open_model, predict_images
from inat.training.memory import keep_freed_memory

Format = Literal["table", "csv", "json"]
Row = dict[str, Any]
PHOTO, CLASS, CONFIDENCE, ERROR = "photo", "class", "confidence", "error"
DIGITS_SHOWN = {"table": 4, "csv": 6, "json": 6}  # of a confidence, after the point
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


@dataclass(frozen=True, kw_only=True, slots=True)
class PredictCommand:
    """Print the class of photographs, and how confident the model is."""

    model: tyro.conf.Positional[Path]
    """A checkpoint (best.ckpt, model.ckpt), a study directory or its final/ directory."""
    photos: tyro.conf.Positional[tuple[Path, ...]]
    """Photographs, and folders in and below which all are meant; hidden files are left out there."""
    top: int = 1
    """Classes for each photograph, the likeliest first."""
    format: Format | None = None
    """Default: as the ending of --output says, else a table."""
    output: Path | None = None
    """File to write instead of printing; it appears when all is predicted."""
    batch_size: int | None = None
    """Photographs that go through the network at a time. Default: as in its training."""

    def __post_init__(self) -> None:
        raise_if_any(positive_errors(self, "top", *(["batch_size"] if self.batch_size is not None else [])))

    @property
    def chosen_format(self) -> Format:
        """What is written."""
        endings: dict[str, Format] = {".csv": "csv", ".json": "json"}
        return self.format or endings.get(self.output.suffix.lower() if self.output else "", "table")


def photo_paths(photos: Sequence[Path]) -> list[str]:
    """The files that are meant, each once: those named, and those of folders, sorted.

    DataError if one does not exist, or a folder has no photograph.
    """
    if not photos:
        raise ConfigError("name photographs or folders of them behind the model")
    paths: dict[str, None] = {}
    for place in (path.expanduser() for path in photos):
        if place.is_dir():
            paths |= dict.fromkeys(str(place / path) for path in list_images(place))
        elif place.exists():
            paths[str(place)] = None
        else:
            raise DataError(f"{place} does not exist; pass photographs or folders of them")
    return list(paths)


def predict(command: PredictCommand) -> None:
    """Do what ``command`` says; DataError, after all reasons, if no photograph could be read."""
    paths = photo_paths(command.photos)
    model = open_model(command.model)
    if command.top > len(model.classes):
        raise ConfigError(f"--top must be in 1..{len(model.classes)}, the classes of the model, got {command.top}")
    keep_freed_memory()
    started, errors = time.perf_counter(), dict[str, str]()
    predictions = _noting(errors, _shown(command, predict_images(model, paths, command.batch_size), len(paths)))
    with warnings.catch_warnings(), _stream(command.output, command.chosen_format == "table") as stream:
        warnings.simplefilter("ignore")  # Pillow's, of odd palettes and EXIF; what it cannot read is told
        write(predictions, model, command, stream)
    console = Console(stderr=True, soft_wrap=True, markup=False, highlight=False)
    console.print(_summary(len(paths), len(errors), time.perf_counter() - started, model))
    if len(errors) == len(paths):
        path, reason = next(iter(errors.items()))
        raise DataError(f"none of the photographs could be predicted (first: {printable(path)}: {reason})")


def _noting(errors: dict[str, str], predictions: Iterable[Prediction]) -> Iterator[Prediction]:
    for prediction in predictions:
        if prediction.error:
            errors[prediction.path] = prediction.error
        yield prediction


def _shown(command: PredictCommand, predictions: Iterable[Prediction], count: int) -> Iterable[Prediction]:
    """With a bar on a terminal, unless lines are printed there meanwhile."""
    console = Console(stderr=True)
    printing = command.output is None and command.chosen_format != "table" and sys.stdout.isatty()
    hidden = printing or not console.is_terminal
    return track(predictions, "predicting", count, console=console, transient=True, disable=hidden)


_ENCODINGS: dict[bool, dict[str, str]] = {
    True: {"errors": "backslashreplace"},
    False: {"encoding": "utf-8", "errors": "surrogateescape"},
}


@contextmanager
def _stream(output: Path | None, table: bool) -> Iterator[TextIO]:
    """Where results are written to. File names are bytes, which may be no text: they are written as they are."""
    if output is None:
        if hasattr(sys.stdout, "reconfigure"):
            # Programs read CSV and JSON as UTF-8, whatever the terminal is; a table is for the terminal.
            sys.stdout.reconfigure(**_ENCODINGS[table])
        yield sys.stdout
        return
    path = output.expanduser()
    if path.is_dir():
        raise ConfigError(f"--output {path} is a folder; name a file")
    try:
        with (
            atomic_replace(path) as partial,
            partial.open("w", encoding="utf-8", errors="surrogateescape") as stream,
        ):
            yield stream
    except OSError as error:
        raise ConfigError(f"cannot write {path} ({error.strerror or error}); choose another --output") from error


def _summary(count: int, failed: int, seconds: float, model: Model) -> str:
    what, on = "photo" if count == 1 else "photos", "GPU" if model.device.type == "cuda" else "CPU"
    bad = f"; {failed:,} of them could not be predicted" if failed else ""
    return f"{count:,} {what} in {seconds:.1f} s on the {on}, {count / seconds:.4g} images/s{bad}"


def write(predictions: Iterable[Prediction], model: Model, command: PredictCommand, stream: TextIO) -> None:
    """Write ``predictions`` to ``stream`` in the command's format; CSV and JSON as they come."""
    digits = DIGITS_SHOWN[command.chosen_format]
    rows = (as_row(prediction, model.classes, command.top, digits) for prediction in predictions)
    if command.chosen_format == "csv":
        _write_csv(rows, columns(command.top), stream)
    elif command.chosen_format == "json":
        _write_json(rows, command.top, stream)
    else:
        _write_table(list(rows), command.top, stream)


def columns(top: int) -> list[str]:
    """Those of the table and the CSV file: class_2 and confidence_2 are the second guess."""
    guesses = ([f"{CLASS}{_suffix(rank)}", f"{CONFIDENCE}{_suffix(rank)}"] for rank in range(top))
    return [PHOTO, *chain.from_iterable(guesses), ERROR]


def _suffix(rank: int) -> str:
    return f"_{rank + 1}" if rank else ""


def as_row(prediction: Prediction, classes: Sequence[str], top: int, digits: int) -> Row:
    """One row by column; of an unread photograph only path and reason."""
    row: Row = {PHOTO: prediction.path, ERROR: prediction.error}
    if prediction.confidences is not None:
        ranking = (-prediction.confidences).argsort(kind="stable")
        for rank, index in enumerate(ranking[:top]):
            row[f"{CLASS}{_suffix(rank)}"] = classes[index]
            row[f"{CONFIDENCE}{_suffix(rank)}"] = f"{prediction.confidences[index]:.{digits}f}"
    return row


def _write_csv(rows: Iterable[Row], names: Sequence[str], stream: TextIO) -> None:
    stream.write(csv_lines([], names, header=True))
    for row in rows:
        stream.write(csv_lines([row], names))


def _write_json(rows: Iterable[Row], top: int, stream: TextIO) -> None:
    separator = "[\n"
    for row in rows:
        stream.write(f"{separator}  {json.dumps(_as_object(row, top))}")
        separator = ",\n"
    stream.write("\n]\n")


def _as_object(row: Row, top: int) -> Row:
    """``row`` for JSON: numbers as such, the first guess beside the path, all guesses in a list."""
    guesses = [
        {CLASS: row[f"{CLASS}{_suffix(rank)}"], CONFIDENCE: float(row[f"{CONFIDENCE}{_suffix(rank)}"])}
        for rank in range(top) if f"{CLASS}{_suffix(rank)}" in row
    ]  # fmt: skip
    first = guesses[0] if guesses else {CLASS: None, CONFIDENCE: None}
    return {PHOTO: row[PHOTO], **first, "top": guesses, ERROR: row[ERROR] or None}


def _write_table(rows: Sequence[Row], top: int, stream: TextIO) -> None:
    """A frame and colours on a terminal, plain columns elsewhere."""
    console = Console(file=stream, markup=False, highlight=False)
    names = [name for name in columns(top) if name != ERROR or any(row[ERROR] for row in rows)]
    table = Table() if console.is_terminal else Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in names:
        right = name.startswith(CONFIDENCE)
        style = "red" if name == ERROR else ""
        table.add_column(name.replace("_", " "), justify="right" if right else "left", style=style, overflow="fold")
    for row in rows:
        table.add_row(*(Text(printable(str(row.get(name, "-")))) for name in names))
    if not console.is_terminal:
        console.width = console.measure(table, options=console.options.update(max_width=1_000_000)).maximum
    console.print(table)


def printable(name: str) -> str:
    """``name`` with control characters, which could move the cursor, as escapes."""
    return CONTROL.sub(lambda match: repr(match[0])[1:-1], name)


if __name__ == "__main__":
    run_command(PredictCommand, predict)
