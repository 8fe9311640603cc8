"""Pages of the site that are made while it is built: the reference, and files that live beside docs/.

`reference/commands.md` is the help of every command; `reference/api/*.md` list the modules whose docstrings
mkdocstrings prints. README's neighbours (CONTRIBUTING.md, CHANGELOG.md, benchmarks/reports/) become pages as they are.
"""

import contextlib
import io
import os
import re
import runpy
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

DOCS = Path(__file__).parent
ROOT = DOCS.parent
NEIGHBOURS = {"CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
REPORTS = "benchmarks/reports"
# Modules that other commands start, some on other machines; nobody types them.
INTERNAL = {"inat.cluster.probe", "inat.cluster.wait_on_head", "inat.serve.build"}
IN_SCRIPTS = {"inat.tune_scratch", "inat.tune_finetune"}  # run by the scripts of the same name
MAIN = re.compile(r'^if __name__ == "__main__":', re.MULTILINE)
SUBCOMMAND = re.compile(r"^\W+• (\S+)", re.MULTILINE)
LINK = re.compile(r"\[(?P<text>[^\]\n]+)\]\((?!\w+:)(?P<target>[^)#\s]+)(?P<anchor>#[^)\s]*)?\)")
# Pages of the API reference: title, introduction and the modules, each a path below the repository.
API = {
    "calls": (
        "inat",
        "What `from inat import ...` offers; see [From Python](../../python.md).",
        ["inat/api/search.py", "inat/api/study.py", "inat/api/final.py", "inat/api/model.py"],
    ),
    "training": (
        "inat.training",
        "One training from its configuration to its metrics, without Ray.",
        ["inat/training"],
    ),
    "predict": ("inat.predict", "Classes of images, from a checkpoint alone.", ["inat/predict.py"]),
    "analysis": (
        "analysis",
        "Studies as pandas frames, whichever tool wrote them. Needs neither torch nor Ray.",
        ["analysis/study.py", "analysis/comparable.py", "analysis/compare.py", "analysis/markdown.py"],
    ),
    "stats": ("analysis.stats", "Importance, effects and correlations at equal budget.", ["analysis/stats"]),
    "claims": (
        "analysis.claims, analysis.early_stopping and analysis.costs",
        "Statements about hyperparameters, what early stopping saved and missed, and results against time and cost.",
        ["analysis/claims", "analysis/early_stopping", "analysis/costs"],
    ),
    "figures": (
        "analysis.figures and analysis.report",
        "For each figure a function that makes a frame and a function that draws it; the page that joins them.",
        ["analysis/figures", "analysis/report"],
    ),
}


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the generated pages."""
    for source, target in NEIGHBOURS.items():
        files.append(File.generated(config, target, abs_src_path=str(ROOT / source)))
    for report in sorted((ROOT / REPORTS).glob("*.md")):
        files.append(File.generated(config, f"{REPORTS}/{report.name}", abs_src_path=str(report)))
    files.append(File.generated(config, "reference/commands.md", content=commands_page()))
    for name, (title, introduction, places) in API.items():
        files.append(File.generated(config, f"reference/api/{name}.md", content=api_page(title, introduction, places)))
    return files


def on_page_markdown(markdown: str, *, page: Page, **_: Any) -> str:
    """Make links of the repository's files work on the site: README's neighbours have pages, other files are named."""
    origin = Path(page.file.abs_src_path or DOCS / page.file.src_uri).parent

    def rewritten(link: re.Match[str]) -> str:
        target = Path(os.path.normpath(origin / link["target"]))
        if not target.is_relative_to(ROOT) or (target.is_relative_to(DOCS) and origin.is_relative_to(DOCS)):
            return link[0]
        path = target.relative_to(ROOT).as_posix()
        if uri := site_uri(path):
            relative = os.path.relpath(uri, Path(page.file.src_uri).parent).replace(os.sep, "/")
            return f"[{link['text']}]({relative}{link['anchor'] or ''})"
        return f"{link['text']} (`{path}`)" if target.exists() and path != link["text"] else link[0]

    return LINK.sub(rewritten, markdown)


def site_uri(path: str) -> str | None:
    """Where on the site the repository's file ``path`` is; None if it is not there."""
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    if path.startswith(f"{REPORTS}/") and path.endswith(".md"):
        return path
    return NEIGHBOURS.get(path)


def commands_page() -> str:
    """The help of every command, as it prints it."""
    parts = [
        "# Commands\n\n"
        "This page is made from the commands' own `--help`. Every command is also a word behind `inat`: "
        "`inat predict ...` is `python -m inat.predict ...`.\n\n"
        "All commands end with code 0 if they did what you asked for, 1 if they failed, 2 if an option or the data is "
        "wrong, and 130 after Ctrl-C. `--debug` on a search shows the traceback behind an error.\n"
    ]
    for name in commands():
        text = help_text(name)
        parts.append(f"\n## `{name}`\n\n```text\n{text}\n```\n")
        for sub in SUBCOMMAND.findall(text):
            parts.append(f"\n### `{name} {sub}`\n\n```text\n{help_text(name, sub)}\n```\n")
    return "".join(parts)


def commands() -> list[str]:
    """The command lines of all commands: `inat`, the two scripts, then the modules that can be run."""
    modules = []
    for package in ("inat", "analysis"):
        for path in sorted((ROOT / package).rglob("*.py")):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__main__")
            if name not in INTERNAL | IN_SCRIPTS | {"inat"} and MAIN.search(path.read_text(encoding="utf-8")):
                modules.append(f"python -m {name}")
    return ["inat", "python tune_scratch.py", "python tune_finetune.py", *modules]


def help_text(command: str, *subcommand: str) -> str:
    """What ``command subcommand --help`` prints, on 80 columns."""
    target = command.split()[-1]
    with _as_process(command, [*subcommand, "--help"]) as output, contextlib.suppress(SystemExit):
        if target.endswith(".py"):
            runpy.run_path(str(ROOT / target), run_name="__main__")
        else:
            runpy.run_module(target, run_name="__main__", alter_sys=True)
    text = output.getvalue().replace(f"{ROOT}/", "").replace(str(Path.home()), "~")
    return "\n".join(line.rstrip() for line in text.strip().splitlines())


@contextlib.contextmanager
def _as_process(command: str, args: list[str]) -> Iterator[io.StringIO]:
    output = io.StringIO()
    environment = {"COLUMNS": "80", "NO_COLOR": "1"}
    with (
        mock.patch.object(sys, "argv", [command.removeprefix("python ") if ".py" in command else command, *args]),
        mock.patch.dict(os.environ, environment),
        contextlib.redirect_stdout(output),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")  # runpy: the module was imported before
        yield output


def api_page(title: str, introduction: str, places: list[str]) -> str:
    """One page of the API reference: all public modules at ``places``."""
    names = [name for place in places for name in public_modules(ROOT / place)]
    return f"# {title}\n\n{introduction}\n" + "".join(
        f"\n## `{name}`\n\n::: {name}\n    options:\n      show_root_heading: false\n      show_root_toc_entry: false\n"
        for name in names
    )


def public_modules(place: Path) -> list[str]:
    """Dotted names of the module at ``place``, or of all modules in that package."""
    paths = [place] if place.is_file() else sorted(place.rglob("*.py"))
    return [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in paths if not path.name.startswith("_")]
