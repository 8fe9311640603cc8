"""Write a report to files: the page, its figures, a summary in Markdown and, on request, its tables."""

import errno
import os
from pathlib import Path
from uuid import uuid4

from analysis.escaping import escape_markdown, escape_markdown_line
from analysis.figures.style import png_bytes
from analysis.files import is_inside
from analysis.markdown import csv_text, markdown_table
from analysis.report.document import Fact, Gallery, Item, Picture, Report, ReportFigure, Section, Table, failed_section
from analysis.report.page import Drawing, draw_section, render

REPORT_HTML = "report.html"
SUMMARY_MD = "summary.md"
FIGURES_DIR = "figures"
TABLES_DIR = "tables"


def folder_for(path: Path) -> Path:
    """The default folder of a report: the study directory itself, or a folder beside a file (``db#study``)."""
    return path if path.is_dir() else path.with_name(f"{path.name.replace('#', '-')}-report")


def write(report: Report, folder: Path, *, csv: bool = False) -> list[Path]:
    """Write the report into ``folder`` and return the paths of all files, the page first.

    ``csv``: write every table to tables/*.csv too. Each file is replaced atomically. A section that cannot be drawn is
    replaced by the reason, also in ``report.sections``. Raises OSError if a file cannot be written.

    >>> from analysis.report.build import build
    >>> files = write(build(study, path), path)
    >>> files[0].name
    'report.html'
    """
    folder.mkdir(parents=True, exist_ok=True)
    drawing, files = Drawing(), dict[Path, bytes]()
    for place, section in enumerate(report.sections):
        try:
            own = _files_of(section, csv)
            draw_section(section, drawing)
        except Exception as error:
            report.sections[place] = failed_section(section.name, section.title, error)
        else:
            files |= own
    files[Path(SUMMARY_MD)] = summary(report).encode()
    files[Path(REPORT_HTML)] = render(report, drawing).encode()  # last: when the page is there, all files are
    for name, content in files.items():
        _create_folder((folder / name).parent, folder)
        _replace(folder / name, content)
    return [folder / name for name in reversed(files)]


def _files_of(section: Section, csv: bool) -> dict[Path, bytes]:
    """The figures and pictures of a section and, with ``csv``, its tables; raises what would fail in the summary."""
    files: dict[Path, bytes] = {}
    for item in section.items:
        _markdown(item)
        if isinstance(item, ReportFigure):
            files[Path(FIGURES_DIR, f"{item.name}.png")] = png_bytes(item.figure, item.title)
        elif isinstance(item, Gallery):
            files |= {Path(place): picture.content for place, picture in _pictures(item)}
        elif isinstance(item, Table) and csv:
            files[Path(TABLES_DIR, f"{item.name}.csv")] = csv_text(item.frame).encode()
    return files


def _pictures(gallery: Gallery) -> list[tuple[str, Picture]]:
    """The pictures of a gallery with the places of their files."""
    pictures = [picture for _, row in gallery.rows for picture in row]
    several = len(pictures) > 1
    return [
        (f"{FIGURES_DIR}/{gallery.name}{f'-{number}' if several else ''}.jpg", picture)
        for number, picture in enumerate(pictures, start=1)
    ]


def _create_folder(folder: Path, report: Path) -> None:
    """Create a folder of the report; OSError for a link in a stranger's study that leads out of it."""
    folder.mkdir(exist_ok=True)
    if not is_inside(folder, report):
        raise OSError(errno.ELOOP, "a link that leads out of its folder; remove it, or pass --output", str(folder))


def _replace(target: Path, content: bytes) -> None:
    temporary = target.with_name(f".{target.name}.{uuid4().hex}")
    try:
        with temporary.open("xb") as file:  # "x" follows no link; the mode is that of the umask
            file.write(content)
        os.replace(temporary, target)
    except OSError as error:  # the error of a full disk does not name the file
        raise OSError(error.errno, error.strerror, str(target)) from error
    finally:
        temporary.unlink(missing_ok=True)


def summary(report: Report) -> str:
    """The report in Markdown, without the folded tables."""
    head = report.headline
    facts = "\n".join(_fact(fact) for fact in head.facts)
    lines = "\n".join(
        f"- {escape_markdown_line(name)}: {escape_markdown(value)}" for name, value in head.configuration.items()
    )
    text = f"# {escape_markdown(head.title)}\n\n{escape_markdown_line(head.subtitle)}\n\n{facts}"
    if lines:
        text += f"\n\n## Best configuration\n\n{lines}"
    if head.findings:
        text += "\n\n## Key findings\n\n" + "\n".join(f"- {escape_markdown_line(finding)}" for finding in head.findings)
    for section in report.sections:
        text += f"\n\n## {escape_markdown(section.title)}"
        for item in section.items:
            text += _markdown(item)
    return text + "\n"


def _markdown(item: Item) -> str:
    if isinstance(item, str):
        return f"\n\n{escape_markdown_line(item)}"
    if isinstance(item, ReportFigure):
        caption = f"\n\n{escape_markdown_line(item.caption)}" if item.caption else ""
        title = escape_markdown(item.title)
        return f"\n\n### {title}\n\n![{escape_markdown(item.alt)}]({FIGURES_DIR}/{item.name}.png){caption}"
    note = f"\n\n{escape_markdown_line(item.note)}" if item.note else ""
    title = escape_markdown(item.title)
    if isinstance(item, Gallery):
        shown = "\n".join(f"![{escape_markdown(picture.alt)}]({place})" for place, picture in _pictures(item))
        return f"\n\n### {title}{note}\n\n{shown}"
    return "" if item.folded else f"\n\n### {title}{note}\n\n{markdown_table(item.frame)}"


def _fact(fact: Fact) -> str:
    label, value, note = (escape_markdown(text) for text in (fact.label, fact.value, fact.note))
    return f"- {label}: **{value}** {note}".rstrip()
