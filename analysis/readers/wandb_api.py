"""Read the table that W&B's documentation builds from the runs of its API: columns summary, config and name.

summary and config contain dictionaries as Python text. The text is parsed as a literal and never executed.
"""

import ast
from collections.abc import Iterable
from typing import Any

import pandas as pd

from analysis.files import parse_json
from analysis.readers.frames import ReadErrors, flatten

SUMMARY, CONFIG, RUN = "summary", "config", "name"
NON_FINITE = {"nan": float("nan"), "inf": float("inf")}


def is_api_export(columns: Iterable[str]) -> bool:
    """Whether ``columns`` are the columns of such a table."""
    return {SUMMARY, CONFIG, RUN} <= set(columns)


def expand_dictionaries(table: pd.DataFrame, place: str, read_errors: ReadErrors) -> tuple[pd.DataFrame, list[str]]:
    """Convert to the columns of W&B's CSV export; also return the names of the configuration's columns.

    The table does not tell how runs ended: all runs count as finished. If both dictionaries have a name, the column of
    that name is the configuration's, and "summary/<name>" is the summary's.
    """
    rows: dict[Any, dict[str, Any]] = {}
    names: dict[str, None] = {}
    for line, run, config_text, summary_text in zip(
        table.index, table[RUN], table[CONFIG], table[SUMMARY], strict=True
    ):
        try:
            config, summary = parse_dictionary(config_text), parse_dictionary(summary_text)
        except (ValueError, SyntaxError, RecursionError, MemoryError) as error:
            read_errors.append((f"{place} line {line}", f"summary or config is not a dictionary: {error}"))
            continue
        names |= dict.fromkeys(config)
        measured = {f"summary/{name}" if name in config else name: value for name, value in summary.items()}
        rows[line] = {"Name": run, "State": "finished", **config, **measured, **_times(summary)}
    expanded = pd.DataFrame.from_dict(rows, orient="index")
    missing = [name for name in ("Name", "State") if name not in expanded]
    return expanded.reindex(columns=[*expanded.columns, *missing]), list(names)


def _times(summary: dict[str, Any]) -> dict[str, Any]:
    """Runtime and Created of a run, computed from the time of its last log entry."""
    runtime, last = summary.get("_runtime", summary.get("_wandb/runtime")), summary.get("_timestamp")
    if not isinstance(runtime, int | float):
        return {}
    if not isinstance(last, int | float):
        return {"Runtime": runtime}
    created = pd.to_datetime(last - runtime, unit="s", utc=True, errors="coerce")
    return {"Runtime": runtime, "Created": None if pd.isna(created) else created.isoformat()}


def parse_dictionary(text: object) -> dict[str, Any]:
    """Parse the text of a dictionary, JSON or Python, and flatten it; raises ValueError or SyntaxError."""
    try:
        content = parse_json(str(text))
    except ValueError:
        # Python writes nan and inf as names, which ast.literal_eval does not accept.
        tree = ast.parse(str(text).strip(), mode="eval")
        content = ast.literal_eval(ReplaceNonFinite().visit(tree))
    if not isinstance(content, dict):
        raise ValueError(f"it is {str(text)[:40]}")
    return flatten({str(name): value for name, value in content.items()})


class ReplaceNonFinite(ast.NodeTransformer):
    """Replace the names nan and inf by numbers."""

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return ast.copy_location(ast.Constant(NON_FINITE[node.id]), node) if node.id in NON_FINITE else node
