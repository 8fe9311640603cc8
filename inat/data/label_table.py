"""Images whose classes stand in a table: a CSV, JSON-lines or Parquet file, or the metadata of an `imagefolder`."""

import csv
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath

import numpy as np
import pandas as pd

from analysis.files import check_regular
from inat.constants import TEST, TRAIN, VAL
from inat.data.file_kinds import COMMON_SUFFIXES, is_image
from inat.data.image_files import ANY, ImageFiles, Listing, UnusedFile
from inat.data.image_folder import class_name, image_file, list_files
from inat.data.layouts import check_exists, find_split_folders, split_of
from inat.errors import DataError

PATH, LABEL, SPLIT, GROUP = "path", "label", "split", "group"
# Names of columns, in any case; the first that a table has is taken.
COLUMNS: Mapping[str, tuple[str, ...]] = {
    PATH: (PATH, "file_name", "filename", "file", "image", "image_path", "filepath"),
    LABEL: (LABEL, "class", "category", "target", "species", "label_name", "class_name"),
    SPLIT: (SPLIT, "subset", "partition"),
    GROUP: (GROUP, "group_id"),
}
# What Hugging Face's `imagefolder` reads beside the images.
METADATA_FILES = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
SNIFFED_CHARACTERS = 8192  # of a CSV file, to find its separator
MAX_BYTES = 2_000_000_000  # of a table


def list_table(root: Path, table: Path) -> Listing:
    """List the images that ``table`` names, with paths relative to ``root`` or absolute.

    Columns: path, label, optional split (train, val or test), optional group; see COLUMNS for other names. A table
    without header has its columns in this order. Images in ``root`` that the table does not name are listed as unused.
    Raises DataError for a table that cannot be read or contradicts itself.
    """
    check_exists(root)
    return _listing(root, _read(table, root), table)


def find_metadata(root: Path) -> Listing | None:
    """The images that metadata files in ``root`` or in its split folders describe; None without a column of labels."""
    folders = {ANY: root, **find_split_folders(root)} if os.path.isdir(root) else {}
    tables, place = [], root
    for split, folder in folders.items():
        for name in METADATA_FILES:
            if os.path.isfile(folder / name):
                frame = _read(folder / name, folder)
                if LABEL not in frame:
                    return None
                prefix, place = folder.name if split else "", folder / name
                tables.append(frame.assign(**{PATH: [os.path.join(prefix, path) for path in frame[PATH]]}))
                break
    return _listing(root, pd.concat(tables, ignore_index=True), place) if tables else None


def _read(place: Path, root: Path) -> pd.DataFrame:
    """The table with the columns of COLUMNS that it has, all as text; "" where a value is missing."""
    try:
        check_regular(place)
        if place.stat().st_size > MAX_BYTES:
            raise DataError(f"{place} is larger than {MAX_BYTES // 10**9} GB; pass a table of the labels alone")
        frame = _parse(place)
    except FileNotFoundError as error:
        raise DataError(f"no table {place}; pass --labels with the path of a CSV file") from error
    except DataError:
        raise
    except Exception as error:  # pandas and pyarrow raise nearly anything on a strange file
        reason = getattr(error, "strerror", None) or str(error).split("\n")[0] or type(error).__name__
        raise DataError(f"{place} cannot be read as a table ({reason}); expected columns path and label") from error
    return _name_columns(frame, place, root)


def _parse(place: Path) -> pd.DataFrame:
    if place.suffix.lower() == ".parquet":
        return pd.read_parquet(place)
    if place.suffix.lower() in (".jsonl", ".ndjson"):
        with place.open(encoding="utf-8-sig") as file:
            return pd.DataFrame([json.loads(line) for line in file if line.strip()])
    with place.open(encoding="utf-8-sig", newline="") as file:
        start = file.read(SNIFFED_CHARACTERS)
    # NA, None and null are names of classes; only an empty cell is missing.
    return pd.read_csv(place, sep=_separator(start), dtype=str, keep_default_na=False, encoding="utf-8-sig")


def _separator(start: str) -> str:
    try:
        # pandas looks at the first line only, in which it takes a letter for the separator if it is none of these.
        return csv.Sniffer().sniff(start, delimiters=",;\t|").delimiter
    except csv.Error:
        return ","


def _name_columns(frame: pd.DataFrame, place: Path, root: Path) -> pd.DataFrame:
    by_name = {str(name).strip().lower(): name for name in frame.columns}
    chosen = {column: next((by_name[n] for n in names if n in by_name), None) for column, names in COLUMNS.items()}
    if chosen[PATH] is None and _names_image(str(frame.columns[0] if len(frame.columns) else ""), root):
        frame = _with_header_as_row(frame)
        chosen = dict(zip(COLUMNS, [*frame.columns, None, None, None], strict=False))
    if chosen[PATH] is None:
        have = ", ".join(map(repr, map(str, frame.columns[:8])))
        raise DataError(f"{place} has no column {PATH!r}, only {have}; name the columns {PATH} and {LABEL}")
    known = {column: frame[name] for column, name in chosen.items() if name is not None}
    return pd.DataFrame({column: values.map(_as_text) for column, values in known.items()})


def _names_image(cell: str, root: Path) -> bool:
    return is_image(cell) or (bool(cell) and (root / cell).is_file())


def _with_header_as_row(frame: pd.DataFrame) -> pd.DataFrame:
    first = pd.DataFrame([[str(name) for name in frame.columns]])
    return pd.concat([first, frame.set_axis(range(frame.shape[1]), axis=1)], ignore_index=True)


def _as_text(value: object) -> str:
    if value is None or value != value:  # NaN
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))  # labels with a missing value are floats in pandas
    if not isinstance(value, (str, int, float, np.generic)):
        raise DataError(f"a cell holds {str(value)[:40]!r}, which is no single value; each image needs one label")
    return str(value).strip()


def _listing(root: Path, table: pd.DataFrame, place: Path) -> Listing:
    if LABEL not in table:
        raise DataError(f"{place} has no column {LABEL!r} (or {', '.join(COLUMNS[LABEL][1:])}); add one")
    roles = _roles(table, place)
    labelled, unused = _labelled(table.assign(**{SPLIT: roles}), place)
    paths = [_checked_path(path, root, place) for path in labelled[PATH]]
    classes = tuple(sorted(set(labelled[LABEL])))
    index = {name: number for number, name in enumerate(classes)}
    files = tuple(image_file(path, root / path) for path in paths)
    found = ImageFiles(
        root,
        classes,
        files,
        tuple(index[name] for name in labelled[LABEL]),
        (*unused, *_unnamed(root, paths, place.name)),
    )
    groups = tuple(labelled[GROUP]) if GROUP in labelled else ()
    final, meaning = _held_out(tuple(labelled[SPLIT]))
    return Listing(found, None, final, f"{place.name} {meaning}", groups)


def check_present(listing: Listing, table: str, allowed: float) -> None:
    """Raise DataError if more than the share ``allowed`` of the images that a table names do not exist."""
    files = listing.development
    missing = [file.path for file in files.files if file.size < 0]
    if len(missing) > allowed * len(files.files):
        rows = "1 row" if len(missing) == 1 else f"{len(missing):,} rows"
        raise DataError(
            f"{rows} of {table} name photos that are not in {files.root}, the first is {missing[0]!r}; correct the "
            "paths, or pass --data with the folder that they begin in"
        )


def _roles(table: pd.DataFrame, place: Path) -> list[str]:
    """The split of each row: of its column, else of the split folder in its path, else ANY."""
    if SPLIT not in table:
        folders = [PurePath(path).parts[:1] for path in table[PATH]]
        roles = [split_of(parts[0]) if parts else ANY for parts in folders]
        return roles if all(roles) else [ANY] * len(roles)
    roles = [split_of(value) for value in table[SPLIT]]
    for value, role in zip(table[SPLIT], roles, strict=True):
        if value and not role:
            raise DataError(f"{place} has the split {value!r}; name the splits {TRAIN}, {VAL} and {TEST}")
    return roles


def _held_out(roles: Sequence[str]) -> tuple[tuple[str, ...], str]:
    """The roles by the rule of folders: val is the held-out split if there is no test. And what that means."""
    if VAL in roles and TEST not in roles:
        roles = [TEST if role == VAL else role for role in roles]
    if TEST not in roles:
        what = f"gives only the split {TRAIN}" if TRAIN in roles else "has no splits"
        return tuple(roles), f"{what}: the test split is cut from all images, then validation from the rest"
    if VAL not in roles:
        return tuple(roles), "names the held-out test split; validation is cut from the other images"
    return tuple(roles), "names the validation and the held-out test split"


def _labelled(table: pd.DataFrame, place: Path) -> tuple[pd.DataFrame, list[UnusedFile]]:
    """The rows with a path and a label, each path once; DataError if a path has two labels."""
    table = table[table[PATH].ne("")]
    missing = table[LABEL].eq("")
    unused = [UnusedFile(path, f"no label in {place.name}") for path in table.loc[missing, PATH]]
    table = table[~missing].assign(**{LABEL: table.loc[~missing, LABEL].map(class_name)})
    if table.empty:
        raise DataError(f"{place} has no row with a path and a label; fill in its columns {PATH} and {LABEL}")
    for column in (LABEL, SPLIT, GROUP):
        if column in table and (several := table.groupby(PATH)[column].nunique()).max() > 1:
            path = several.idxmax()
            values = " and ".join(repr(value) for value in table.loc[table[PATH].eq(path), column].unique()[:3])
            raise DataError(f"{place} gives {path} the {column}s {values}; an image needs one {column}")
    return table.drop_duplicates(PATH), unused


def _checked_path(path: str, root: Path, place: Path) -> str:
    """The path of an image below ``root``, or an absolute one; the ending may be left out."""
    if "\0" in path or (not os.path.isabs(path) and os.path.normpath(path).startswith("..")):
        raise DataError(f"{place} names {path!r}, which leads out of {root}; write an absolute path")
    path = path if os.path.isabs(path) else os.path.normpath(path)
    if "\\" in path and not (root / path).exists():
        path = path.replace("\\", "/")  # written on Windows
    if not os.path.splitext(path)[1] and not (root / path).exists():
        endings = sorted(COMMON_SUFFIXES)
        return next((path + ending for ending in endings if (root / (path + ending)).exists()), path)
    return path


def _unnamed(root: Path, paths: Sequence[str], table: str) -> list[UnusedFile]:
    """Images in ``root`` that the table does not name, and files that are neither images nor tables of labels."""
    named = set(paths) | {os.path.relpath(path, root) for path in paths if os.path.isabs(path)}
    images, others = list_files(root)
    return [UnusedFile(path, "not in the table of labels") for path in images if path not in named] + [
        other for other in others if Path(other.path).name not in (*METADATA_FILES, table)
    ]
