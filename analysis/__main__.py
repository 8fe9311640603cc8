"""Commands over finished studies.

python -m analysis compare results/SCRATCH results/FINETUNE    # accuracy, epochs, seconds and parameters by network
"""

import sys
from pathlib import Path

import pandas as pd
import tyro
from rich.console import Console

from analysis.compare import comparison
from analysis.study import load_study

FORMATS = {"worst": ".4f", "median": ".4f", "best": ".4f", "seconds": ".1f", "total_seconds": ".0f"}
app = tyro.extras.SubcommandApp()


@app.command
def compare(studies: tyro.conf.Positional[tuple[Path, ...]], output: Path | None = None) -> None:
    """Print studies side by side, by network and freezing strategy, and write the table as CSV and Markdown.

    Args:
        studies: Study directories.
        output: Folder for comparison.csv and comparison.md. Default: the one that the first study is in.
    """
    if not studies:
        raise ValueError("name the study directories to compare")
    names = [path.resolve().name for path in studies]
    unique = [name if names.count(name) == 1 else str(path) for name, path in zip(names, studies, strict=True)]
    table = comparison({name: load_study(path) for name, path in zip(unique, studies, strict=True)})
    folder = output or studies[0].resolve().parent
    folder.mkdir(parents=True, exist_ok=True)
    text = as_markdown(table)
    table.to_csv(folder / "comparison.csv", index=False)
    (folder / "comparison.md").write_text(text + "\n", encoding="utf-8")
    console = Console(soft_wrap=True, markup=False, highlight=False)
    console.print(text)
    console.print(f"\nwritten to {folder / 'comparison.csv'} and {folder / 'comparison.md'}")


def as_markdown(table: pd.DataFrame) -> str:
    """The table with accuracies of four digits and thousands apart."""
    formats = [FORMATS.get(name, "") for name in table]
    named = table.rename(columns=lambda name: name.replace("_", " "))
    return str(named.to_markdown(index=False, floatfmt=formats, intfmt=",", missingval="-"))


def main() -> None:
    """Run one command; wrong input is one line and exit code 2."""
    try:
        app.cli(description="Commands over studies.")
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
