"""Write a report: the page, its pictures, a summary in Markdown and, if asked for, its tables."""

import os
from pathlib import Path
from tempfile import NamedTemporaryFile

from analysis.figures.style import png_bytes
from analysis.markdown import escaped, markdown
from analysis.report.model import Picture, Report, Table
from analysis.report.page import render

REPORT_HTML = "report.html"
SUMMARY_MD = "summary.md"
FIGURES_DIR = "figures"
TABLES_DIR = "tables"


def folder_for(path: Path) -> Path:
    """Where a report goes unless the user says otherwise: into a study directory, or beside a file (``db#study``)."""
    return path if path.is_dir() else path.with_name(f"{path.name.replace('#', '-')}-report")


def write(report: Report, folder: Path, *, csv: bool = False) -> list[Path]:
    """Write the report into ``folder``, each file at once or not at all; the paths of the page, pictures and tables.

    Raises OSError where it cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = {Path(FIGURES_DIR, f"{picture.name}.png"): png_bytes(picture.figure) for picture in report.pictures}
    if csv:
        files |= {Path(TABLES_DIR, f"{t.name}.csv"): t.frame.to_csv(index=False).encode() for t in report.tables}
    files[Path(SUMMARY_MD)] = summary(report).encode()
    files[Path(REPORT_HTML)] = render(report).encode()  # last: who sees it finds the others
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
            os.chmod(temporary, 0o644)  # a temporary file is for its owner only
            os.replace(temporary, target)
        except OSError as error:  # of a full disk, which does not name the file
            raise OSError(error.errno, error.strerror, str(target)) from error
        finally:
            temporary.unlink(missing_ok=True)


def summary(report: Report) -> str:
    """The report in Markdown: everything but folded tables."""
    head = report.headline
    parts = [f"# {head.title}", head.subtitle, *[f"- {f.label}: **{f.value}** {f.note}".rstrip() for f in head.facts]]
    lines = "\n".join(f"- {escaped(name)}: {escaped(value)}" for name, value in head.configuration.items())
    text = "\n\n".join([*parts[:2], "\n".join(parts[2:])])
    if lines:
        text += f"\n\n## Best configuration\n\n{lines}"
    if head.findings:
        text += "\n\n## In short\n\n" + "\n".join(f"- {escaped(finding)}" for finding in head.findings)
    for section in report.sections:
        text += f"\n\n## {section.title}"
        for item in section.items:
            text += _markdown(item)
    return text + "\n"


def _markdown(item: str | Picture | Table) -> str:
    if isinstance(item, str):
        return f"\n\n{escaped(item)}"
    if isinstance(item, Picture):
        return f"\n\n![{item.alt}]({FIGURES_DIR}/{item.name}.png)"
    note = f"\n\n{item.note}" if item.note else ""
    return "" if item.folded else f"\n\n### {item.title}{note}\n\n{markdown(item.frame)}"
