"""The table that W&B's documentation shows how to make of its API's runs: columns summary, config and name.

The first two hold Python's text of a dictionary. It is read as a literal and never run.
"""

import ast
import json
from collections.abc import Iterable
from typing import Any

import pandas as pd

from analysis.readers.frames import Broken, flatten

SUMMARY, CONFIG, RUN = "summary", "config", "name"
CONSTANTS = {"nan": float("nan"), "inf": float("inf")}


def is_of_dictionaries(columns: Iterable[str]) -> bool:
    """Whether the columns are those of such a table."""
    return {SUMMARY, CONFIG, RUN} <= set(columns)


def unpack(table: pd.DataFrame, place: str, broken: Broken) -> tuple[pd.DataFrame, list[str]]:
    """The table as W&B's page exports it, and the columns that are of the configuration.

    It does not tell how runs ended: all of them count as finished. A name that is in both dictionaries is the
    configuration's, and "summary/name" that of the summary.
    """
    rows: dict[Any, dict[str, Any]] = {}
    names: dict[str, None] = {}
    for line, run, config_text, summary_text in zip(
        table.index, table[RUN], table[CONFIG], table[SUMMARY], strict=True
    ):
        try:
            config, summary = dictionary(config_text), dictionary(summary_text)
        except (ValueError, SyntaxError, RecursionError, MemoryError) as error:
            broken.append((f"{place} line {line}", f"summary or config is no dictionary: {error}"))
            continue
        names |= dict.fromkeys(config)
        measured = {f"summary/{name}" if name in config else name: value for name, value in summary.items()}
        rows[line] = {"Name": run, "State": "finished", **config, **measured, **_times(summary)}
    unpacked = pd.DataFrame.from_dict(rows, orient="index")
    missing = [name for name in ("Name", "State") if name not in unpacked]
    return unpacked.reindex(columns=[*unpacked.columns, *missing]), list(names)


def _times(summary: dict[str, Any]) -> dict[str, Any]:
    """Runtime and Created, from when the run last logged something."""
    runtime, last = summary.get("_runtime", summary.get("_wandb/runtime")), summary.get("_timestamp")
    if not isinstance(runtime, int | float):
        return {}
    if not isinstance(last, int | float):
        return {"Runtime": runtime}
    created = pd.to_datetime(last - runtime, unit="s", utc=True, errors="coerce")
    return {"Runtime": runtime, "Created": None if pd.isna(created) else created.isoformat()}


def dictionary(text: object) -> dict[str, Any]:
    """A flat dictionary from its text, Python's or JSON's; ValueError or SyntaxError if it is none."""
    try:
        found = json.loads(str(text))
    except ValueError:
        # Python writes nan and inf as names, which are no literals.
        tree = ast.parse(str(text).strip(), mode="eval")
        found = ast.literal_eval(Constants().visit(tree))
    if not isinstance(found, dict):
        raise ValueError(f"it is {str(text)[:40]}")
    return flatten({str(name): value for name, value in found.items()})


class Constants(ast.NodeTransformer):
    """nan and inf as numbers."""

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return ast.copy_location(ast.Constant(CONSTANTS[node.id]), node) if node.id in CONSTANTS else node
