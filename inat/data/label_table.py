"""Images whose classes stand in a table: a CSV, JSON-lines or Parquet file, or the metadata of an `imagefolder`."""

import os
from collections.abc import Mapping, Sequence, Set
from pathlib import Path, PurePath

import pandas as pd

from inat.constants import TEST, TRAIN, VAL
from inat.data.file_kinds import COMMON_SUFFIXES, is_image
from inat.data.image_files import ANY, ImageFiles, Listing, UnusedFile
from inat.data.image_folder import class_name, image_file, list_files
from inat.data.layouts import check_exists, find_split_folders, split_of
from inat.data.table_file import as_texts, read_table
from inat.errors import DataError

PATH, LABEL, SPLIT, GROUP = "path", "label", "split", "group"
FILE = "file"  # the absolute path of an image
# Names of columns, in any case; the first that a table has is taken.
COLUMNS: Mapping[str, tuple[str, ...]] = {
    PATH: (PATH, "file_name", "filename", "file", "image", "image_path", "filepath"),
    LABEL: (LABEL, "class", "category", "target", "species", "label_name", "class_name"),
    SPLIT: (SPLIT, "subset", "partition"),
    GROUP: (GROUP, "group_id"),
}
# What Hugging Face's `imagefolder` reads beside the images.
METADATA_FILES = ("metadata.csv", "metadata.jsonl", "metadata.parquet")


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
                frame = _read_metadata(folder / name, folder)
                if frame is None:
                    return None
                prefix, place = folder.name if split else "", folder / name
                tables.append(frame.assign(**{PATH: [os.path.join(prefix, path) for path in frame[PATH]]}))
                break
    return _listing(root, pd.concat(tables, ignore_index=True), place) if tables else None


def _read(place: Path, root: Path) -> pd.DataFrame:
    """The table with the columns of COLUMNS that it has, all as text; "" where a value is missing."""
    frame, chosen = _choose_columns(read_table(place, COLUMNS[PATH]), root)
    return _as_texts(frame, chosen, place)


def _read_metadata(place: Path, root: Path) -> pd.DataFrame | None:
    """The same for a table that has columns of labels; None for one about other things."""
    frame, chosen = _choose_columns(read_table(place, COLUMNS[PATH]), root)
    return _as_texts(frame, chosen, place) if LABEL in chosen else None


def _as_texts(frame: pd.DataFrame, chosen: Mapping[str, int], place: Path) -> pd.DataFrame:
    if PATH not in chosen:
        have = ", ".join(repr(str(name)[:40]) for name in frame.columns[:8])
        raise DataError(f"{place} has no column {PATH!r}, only {have}; name the columns {PATH} and {LABEL}")
    texts = {column: as_texts(frame.iloc[:, position], column, place) for column, position in chosen.items()}
    return pd.DataFrame(texts, dtype=object)


def _choose_columns(frame: pd.DataFrame, root: Path) -> tuple[pd.DataFrame, dict[str, int]]:
    """The table, with its header as a row if it has none, and the positions of the columns of COLUMNS."""
    positions: dict[str, int] = {}
    for position, name in enumerate(frame.columns):
        positions.setdefault(str(name).strip().lower(), position)
    chosen = {
        column: next(positions[name] for name in names if name in positions)
        for column, names in COLUMNS.items()
        if any(name in positions for name in names)
    }
    if PATH not in chosen and _names_image(str(frame.columns[0] if len(frame.columns) else ""), root):
        frame = _with_header_as_row(frame)
        chosen = dict(zip(COLUMNS, range(frame.shape[1]), strict=False))
    return frame, chosen


def _names_image(cell: str, root: Path) -> bool:
    return is_image(cell) or (bool(cell) and os.path.isfile(root / cell))


def _with_header_as_row(frame: pd.DataFrame) -> pd.DataFrame:
    first = pd.DataFrame([[str(name) for name in frame.columns]])
    return pd.concat([first, frame.set_axis(range(frame.shape[1]), axis=1)], ignore_index=True)


def _listing(root: Path, table: pd.DataFrame, place: Path) -> Listing:
    if LABEL not in table:
        raise DataError(f"{place} has no column {LABEL!r} (or {', '.join(COLUMNS[LABEL][1:])}); add one")
    table = table.assign(**{SPLIT: _roles(table, place)})
    table = table[table[PATH].ne("")]
    table = table.assign(**{PATH: [_checked_path(path, root, place) for path in table[PATH]]})
    # A file may be named in several ways, such as ./a.jpg and a.jpg, and is one image.
    table = table.assign(**{FILE: [_absolute(path, root) for path in table[PATH]]})
    labelled, unlabelled = _labelled(table, place)
    classes = tuple(sorted(set(labelled[LABEL])))
    index = {name: number for number, name in enumerate(classes)}
    found = ImageFiles(
        root,
        classes,
        tuple(image_file(path, root / path) for path in labelled[PATH]),
        tuple(index[name] for name in labelled[LABEL]),
        (*unlabelled, *_unnamed(root, set(table[FILE]), place.name)),
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
    """The rows with a label, each file once, and the files without; DataError if a file has two labels."""
    missing = table[LABEL].eq("")
    rest = table[missing & ~table[FILE].isin(table.loc[~missing, FILE])].drop_duplicates(FILE)
    unlabelled = [UnusedFile(path, f"no label in {place.name}") for path in rest[PATH]]
    table = table[~missing].assign(**{LABEL: [class_name(name) for name in table.loc[~missing, LABEL]]})
    if table.empty:
        raise DataError(f"{place} has no row with a path and a label; fill in its columns {PATH} and {LABEL}")
    for column in (LABEL, SPLIT, GROUP):
        if column in table and (several := table.groupby(FILE)[column].nunique()).max() > 1:
            rows = table[table[FILE].eq(several.idxmax())]
            values = " and ".join(repr(value) for value in rows[column].unique()[:3])
            raise DataError(f"{place} gives {rows[PATH].iloc[0]} the {column}s {values}; an image needs one {column}")
    return table.drop_duplicates(FILE), unlabelled


def _checked_path(path: str, root: Path, place: Path) -> str:
    """The path of an image below ``root``, or an absolute one; the ending may be left out."""
    path = _normal(path)
    if "\\" in path and not _exists(path, root):
        path = _normal(path.replace("\\", "/"))  # written on Windows
    if path.split("/")[0] == os.pardir:
        raise DataError(f"{place} names {path!r}, which leads out of {root}; write an absolute path")
    if not os.path.splitext(path)[1] and not _exists(path, root):
        return next((path + ending for ending in sorted(COMMON_SUFFIXES) if _exists(path + ending, root)), path)
    return path


def _normal(path: str) -> str:
    return path if os.path.isabs(path) else os.path.normpath(path)


def _exists(path: str, root: Path) -> bool:
    return os.path.exists(os.path.join(root, path))  # False for a name that is too long, unlike Path.exists


def _absolute(path: str, root: Path) -> str:
    return os.path.abspath(os.path.join(root, path))


def _unnamed(root: Path, named: Set[str], table: str) -> list[UnusedFile]:
    """Images in ``root`` that the table does not name, and files that are neither images nor tables of labels."""
    images, others = list_files(root)
    listed = [UnusedFile(path, "not in the table of labels") for path in images]
    listed += [other for other in others if Path(other.path).name not in (*METADATA_FILES, table)]
    return [file for file in listed if _absolute(file.path, root) not in named]
