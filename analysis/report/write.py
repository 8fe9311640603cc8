"""Write a report to files: the page, its figures, a summary in Markdown and, on request, its tables."""

import os
from pathlib import Path
from tempfile import NamedTemporaryFile

from analysis.figures.style import png_bytes
from analysis.markdown import escape_markdown, markdown_table
from analysis.report.document import Report, ReportFigure, Table
from analysis.report.page import render

REPORT_HTML = "report.html"
SUMMARY_MD = "summary.md"
FIGURES_DIR = "figures"
TABLES_DIR = "tables"


def folder_for(path: Path) -> Path:
    """The default folder of a report: the study directory itself, or a folder beside a file (``db#study``)."""
    return path if path.is_dir() else path.with_name(f"{path.name.replace('#', '-')}-report")


def write(report: Report, folder: Path, *, csv: bool = False) -> list[Path]:
    """Write the report into ``folder`` and return the paths of all files, the page first.

    ``csv``: write every table to tables/*.csv too. Each file is replaced atomically. Raises OSError if a file cannot be
    written.

    >>> from analysis.report.build import build
    >>> files = write(build(study, path), path)
    >>> files[0].name
    'report.html'
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = {Path(FIGURES_DIR, f"{figure.name}.png"): png_bytes(figure.figure) for figure in report.figures}
    if csv:
        files |= {Path(TABLES_DIR, f"{t.name}.csv"): t.frame.to_csv(index=False).encode() for t in report.tables}
    files[Path(SUMMARY_MD)] = summary(report).encode()
    files[Path(REPORT_HTML)] = render(report).encode()  # last: when the page is there, all files are
    for name, content in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        _replace(folder / name, content)
    return [folder / name for name in reversed(files)]


def _replace(target: Path, content: bytes) -> None:
    with NamedTemporaryFile(dir=target.parent, prefix=f".{target.name}.", delete=False) as file:
        temporary = Path(file.name)
        try:
            file.write(content)
            file.flush()
            os.chmod(temporary, 0o644)  # NamedTemporaryFile gives access to its owner only
            os.replace(temporary, target)
        except OSError as error:  # the error of a full disk does not name the file
            raise OSError(error.errno, error.strerror, str(target)) from error
        finally:
            temporary.unlink(missing_ok=True)


def summary(report: Report) -> str:
    """The report in Markdown, without the folded tables."""
    head = report.headline
    parts = [f"# {head.title}", head.subtitle, *[f"- {f.label}: **{f.value}** {f.note}".rstrip() for f in head.facts]]
    lines = "\n".join(
        f"- {escape_markdown(name)}: {escape_markdown(value)}" for name, value in head.configuration.items()
    )
    text = "\n\n".join([*parts[:2], "\n".join(parts[2:])])
    if lines:
        text += f"\n\n## Best configuration\n\n{lines}"
    if head.findings:
        text += "\n\n## Key findings\n\n" + "\n".join(f"- {escape_markdown(finding)}" for finding in head.findings)
    for section in report.sections:
        text += f"\n\n## {section.title}"
        for item in section.items:
            text += _markdown(item)
    return text + "\n"


def _markdown(item: str | ReportFigure | Table) -> str:
    if isinstance(item, str):
        return f"\n\n{escape_markdown(item)}"
    if isinstance(item, ReportFigure):
        caption = f"\n\n{escape_markdown(item.caption)}" if item.caption else ""
        return f"\n\n![{item.alt}]({FIGURES_DIR}/{item.name}.png){caption}"
    note = f"\n\n{item.note}" if item.note else ""
    return "" if item.folded else f"\n\n### {item.title}{note}\n\n{markdown_table(item.frame)}"
