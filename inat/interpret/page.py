"""One HTML page of all pictures of a model, which needs no network and no other file."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import jinja2
from PIL import Image

from analysis.escaping import printable
from analysis.terminal import PlainConsole
from inat.interpret.images import Picture, as_data_error
from inat.study.atomic_io import atomic_replace

HERE = Path(__file__).parent
MAX_BYTES = 2_900_000  # of the pictures in the page, in base64; the PNG files beside it have all pixels
QUALITY = 85  # of JPEG
SHRINK = 0.85  # factor of the sides, as often as needed


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the page: what its pictures show, in words for a stranger, and the pictures."""

    title: str
    text: str
    pictures: Sequence[Picture] = ()


def write_page(sections: Sequence[Section], path: Path, title: str, subtitle: str, command: str) -> None:
    """Write the page to ``path`` and print the path; DataError if it cannot be written.

    The pictures are those files at a lower resolution if the page would be larger than 3 MB.
    """
    page = render(sections, path.parent, title, subtitle, command)
    with as_data_error(path), atomic_replace(path, sync=False) as partial:
        partial.write_text(page, encoding="utf-8")
    PlainConsole().print(str(path))


def render(sections: Sequence[Section], folder: Path, title: str, subtitle: str, command: str) -> str:
    """The page as HTML; links to the pictures' files are relative to ``folder``."""
    environment = jinja2.Environment(
        autoescape=True,
        finalize=lambda value: printable(value) if isinstance(value, str) else value,
        loader=jinja2.FileSystemLoader(HERE),
        undefined=jinja2.StrictUndefined,
    )
    paths = [picture.path for section in sections for picture in section.pictures]
    sources = dict(zip(paths, embedded(paths), strict=True))
    shown = [
        {"title": s.title, "text": s.text, "pictures": [_item(p, sources[p.path], folder) for p in s.pictures]}
        for s in sections
    ]
    return environment.get_template("page.html").render(sections=shown, title=title, subtitle=subtitle, command=command)


def _item(picture: Picture, source: "Embedded", folder: Path) -> dict[str, str | int]:
    name = picture.path.relative_to(folder).as_posix()
    return {
        "title": picture.title, "alt": picture.alt, "name": name, "link": quote(name), "source": source.uri,
        "width": source.width, "height": source.height,
    }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Embedded:
    """A picture as data URI, and the width and height in pixels of its file."""

    uri: str
    width: int
    height: int


def embedded(paths: Sequence[Path], max_bytes: int = MAX_BYTES) -> list[Embedded]:
    """The pictures as data URIs of at most ``max_bytes`` together, smaller ones if that is needed."""
    images = [Image.open(path).convert("RGB") for path in paths]
    scale = 1.0
    while True:
        uris = [_uri(image, scale) for image in images]
        if sum(map(len, uris)) <= max_bytes:
            return [Embedded(uri, *image.size) for uri, image in zip(uris, images, strict=True)]
        scale *= SHRINK


def _uri(image: Image.Image, scale: float) -> str:
    """JPEG or PNG, whichever is smaller."""
    if scale < 1:
        sides = max(1, round(image.width * scale)), max(1, round(image.height * scale))
        image = image.resize(sides, Image.Resampling.LANCZOS)
    kinds: dict[str, dict[str, int | bool]] = {"jpeg": {"quality": QUALITY}, "png": {"optimize": True}}
    contents = {kind: _encode(image, kind, options) for kind, options in kinds.items()}
    kind = min(contents, key=lambda name: len(contents[name]))
    return f"data:image/{kind};base64,{base64.b64encode(contents[kind]).decode()}"


def _encode(image: Image.Image, kind: str, options: dict[str, int | bool]) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()
