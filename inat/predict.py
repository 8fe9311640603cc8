"""Classify photos with a trained model.

    python -m inat.predict results/STUDY photo.jpg               # one photo, with the best model of a study
    python -m inat.predict results/STUDY/final FOLDER --top 3    # all photos in and below a folder
    python -m inat.predict results/STUDY/final FOLDER --ensemble # with all models of its ensemble: slower
    python -m inat.predict best.ckpt FOLDER --output classes.csv # or .json
    python -m inat.predict best.ckpt FOLDER --format csv | ...   # each line as soon as it is known
    python -m inat.predict results/STUDY FOLDER --model my_net.py   # a network of your own

Each photo gives one line, an unreadable photo a line with the reason. The exit code is 0 if any photo was readable.
"""

import json
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

from analysis.escaping import printable
from analysis.terminal import PlainConsole
from inat.cli import run_command
from inat.config.validation import expanded, positive_errors, raise_if_any
from inat.data.image_files import UnusedFile, count_reasons
from inat.data.image_folder import find_images
from inat.errors import ConfigError, DataError
from inat.models.own_code import OwnModelOption, allow_named
from inat.study.atomic_io import atomic_replace, csv_lines
from inat.training.ensemble import open_ensemble
from inat.training.inference import Prediction, Predictor, open_model, predict_images
from inat.training.memory import keep_freed_memory

Format = Literal["table", "csv", "json"]
Row = dict[str, Any]
PHOTO, CLASS, CONFIDENCE, ERROR = "photo", "class", "confidence", "error"  # columns
DECIMALS = {"table": 4, "csv": 6, "json": 6}  # of a confidence


@dataclass(frozen=True, kw_only=True, slots=True)
class PredictCommand:
    """Print the class of photos, and the confidence of the model."""

    model: tyro.conf.Positional[Path]
    """A checkpoint (best.ckpt, model.ckpt), a study directory or its final/ directory."""
    photos: tyro.conf.Positional[tuple[Path, ...]]
    """Photos, and folders of photos; a folder includes its subfolders, without hidden files."""
    top: int = 1
    """Classes per photo, the most likely first."""
    format: Format | None = None
    """Output format. Default: from the ending of --output, else a table."""
    output: Path | None = None
    """File to write instead of printing; it appears when all photos are done."""
    ensemble: bool = False
    """Average the probabilities of the ensemble that inat.finalize chose; it takes a forward pass per member. The first
    argument is the study directory or its final/ directory."""
    batch_size: int | None = None
    """Photos per batch. Default: as in the training."""
    own_model: OwnModelOption = None
    """Python file with the network, if the search had --model; its code runs only if you name it here."""

    def __post_init__(self) -> None:
        raise_if_any(positive_errors(self, "top", *(["batch_size"] if self.batch_size is not None else [])))

    @property
    def chosen_format(self) -> Format:
        """The output format."""
        endings: dict[str, Format] = {".csv": "csv", ".json": "json"}
        return self.format or endings.get(self.output.suffix.lower() if self.output else "", "table")


def image_paths(places: Sequence[Path]) -> list[str]:
    """The image files of ``places``, each once: files as they are given, and sorted files of folders.

    Raises DataError if a place does not exist, or if a folder has no image.

    >>> image_paths([Path("photos/2.png"), Path("photos")])
    ['photos/2.png', 'photos/0.png', 'photos/1.png']
    """
    return _find_photos(places)[0]


def _find_photos(places: Sequence[Path]) -> tuple[list[str], list[UnusedFile]]:
    """The image files as in ``image_paths``, and the other files of the folders with the reason."""
    if not places:
        raise ConfigError("name photos or folders of photos after the model")
    paths: dict[str, None] = {}
    unused: list[UnusedFile] = []
    for place in (expanded(path) for path in places):
        if place.is_dir():
            images, others = find_images(place)
            paths |= dict.fromkeys(str(place / path) for path in images)
            unused += others
        elif place.exists():
            paths[str(place)] = None
        else:
            raise DataError(
                f"{place} does not exist; after the model, pass the paths of photos or of folders with photos"
            )
    return list(paths), unused


def predict(command: PredictCommand) -> None:
    """Run ``python -m inat.predict``; raises DataError at the end if no image could be predicted.

    >>> command = PredictCommand(model=Path("study"), photos=(Path("photos"),), output=Path("classes.csv"))
    >>> predict(command)
    >>> print(Path("classes.csv").read_text().splitlines()[0])
    photo,class,confidence,error
    """
    allow_named(command.own_model)
    model = open_ensemble(command.model) if command.ensemble else open_model(command.model)
    paths, unused = _find_photos(command.photos)
    if command.top > len(model.classes):
        raise ConfigError(f"--top must be in 1..{len(model.classes)}, the classes of the model, got {command.top}")
    keep_freed_memory()
    started, errors = time.perf_counter(), dict[str, str]()
    predictions = predict_images(model, paths, command.batch_size)
    predictions = _collect_errors(_with_progress_bar(predictions, command, len(paths)), errors)
    with warnings.catch_warnings(), _stream(command.output, command.chosen_format == "table") as stream:
        warnings.simplefilter("ignore")  # of Pillow on unusual palettes and EXIF data
        _write(predictions, model, command, stream)
    console = PlainConsole(stderr=True)
    console.print(_summary(len(paths), len(errors), time.perf_counter() - started, model))
    if unused:
        files = "1 file was" if len(unused) == 1 else f"{len(unused):,} files were"
        console.print(f"{files} left out: {count_reasons(file.reason for file in unused)}")
    if len(errors) == len(paths):
        path, reason = next(iter(errors.items()))
        raise DataError(f"none of the photos could be predicted (first: {printable(path)}: {reason})")


def _collect_errors(predictions: Iterable[Prediction], errors: dict[str, str]) -> Iterator[Prediction]:
    """Yield ``predictions``, and store the reasons of unreadable images in ``errors`` by path."""
    for prediction in predictions:
        if prediction.error:
            errors[prediction.path] = prediction.error
        yield prediction


def _with_progress_bar(predictions: Iterable[Prediction], command: PredictCommand, count: int) -> Iterable[Prediction]:
    """Show a bar on a terminal, unless lines are printed there at the same time."""
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
    """The stream for the results. File names that are no valid text are written with their original bytes."""
    if output is None:
        if hasattr(sys.stdout, "reconfigure"):
            # Other programs read CSV and JSON as UTF-8, whatever the encoding of the terminal; people read a table.
            sys.stdout.reconfigure(**_ENCODINGS[table])
        yield sys.stdout
        return
    path = expanded(output)
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


def _summary(count: int, failed: int, seconds: float, model: Predictor) -> str:
    what, on = "photo" if count == 1 else "photos", "CPU" if model.device.type == "cpu" else "GPU"
    bad = f"; {failed:,} of them could not be predicted" if failed else ""
    return f"{count:,} {what} in {seconds:.1f} s on the {on}, {count / seconds:.4g} images/s{bad}"


def _write(predictions: Iterable[Prediction], model: Predictor, command: PredictCommand, stream: TextIO) -> None:
    """Write ``predictions`` to ``stream`` in the format of the command; CSV and JSON line by line as they come."""
    decimals = DECIMALS[command.chosen_format]
    rows = (_as_row(prediction, model.classes, command.top, decimals) for prediction in predictions)
    if command.chosen_format == "csv":
        _write_csv(rows, _columns(command.top), stream)
    elif command.chosen_format == "json":
        _write_json(rows, command.top, stream)
    else:
        _write_table(list(rows), command.top, stream)


def _columns(top: int) -> list[str]:
    """Columns of the table and the CSV file; class_2 and confidence_2 are the second most likely class."""
    guesses = ([f"{CLASS}{_suffix(rank)}", f"{CONFIDENCE}{_suffix(rank)}"] for rank in range(top))
    return [PHOTO, *chain.from_iterable(guesses), ERROR]


def _suffix(rank: int) -> str:
    return f"_{rank + 1}" if rank else ""


def _as_row(prediction: Prediction, classes: Sequence[str], top: int, decimals: int) -> Row:
    """One row by column; for an unreadable image, only path and reason."""
    row: Row = {PHOTO: prediction.path, ERROR: prediction.error}
    if prediction.confidences is not None:
        ranking = (-prediction.confidences).argsort(kind="stable")
        for rank, index in enumerate(ranking[:top]):
            row[f"{CLASS}{_suffix(rank)}"] = classes[index]
            row[f"{CONFIDENCE}{_suffix(rank)}"] = f"{prediction.confidences[index]:.{decimals}f}"
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
    """``row`` as a JSON object: the most likely class and its confidence, and a list of the ``top`` classes."""
    guesses = [
        {CLASS: row[f"{CLASS}{_suffix(rank)}"], CONFIDENCE: float(row[f"{CONFIDENCE}{_suffix(rank)}"])}
        for rank in range(top) if f"{CLASS}{_suffix(rank)}" in row
    ]  # fmt: skip
    first = guesses[0] if guesses else {CLASS: None, CONFIDENCE: None}
    return {PHOTO: row[PHOTO], **first, "top": guesses, ERROR: row[ERROR] or None}


def _write_table(rows: Sequence[Row], top: int, stream: TextIO) -> None:
    """Write a table: with frame and colours on a terminal, else in plain columns."""
    console = PlainConsole(file=stream, soft_wrap=False)
    names = [name for name in _columns(top) if name != ERROR or any(row[ERROR] for row in rows)]
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


if __name__ == "__main__":
    run_command(PredictCommand, predict)
