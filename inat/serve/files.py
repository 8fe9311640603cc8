"""The styles and scripts of the pages. Their addresses have a version, so that a browser keeps them for a year."""

import gzip
import hashlib
from functools import cache
from pathlib import Path

import plotly.offline
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

import analysis.report.page
from analysis.report.page import page_script

REPORT = Path(analysis.report.page.__file__).parent
HERE = Path(__file__).parent / "html"
PLOTLY = "plotly.js"
PAGE_SCRIPT = "page.js"
PLACES = {"page.css": REPORT, "live.css": HERE, "live.js": HERE}
KINDS = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8"}


def address_of(name: str) -> str:
    """The address of a file, which changes with its content."""
    version = plotly.__version__ if name == PLOTLY else _version(name)
    return f"/static/{name}?v={version}"


async def answer(request: Request) -> Response:
    """One of the files; 404 for any other name."""
    name = request.path_params["name"]
    if name not in (PLOTLY, PAGE_SCRIPT) and name not in PLACES:
        return PlainTextResponse("There is no such file.\n", 404)
    packed = await run_in_threadpool(_packed, name)
    headers = {"Cache-Control": "private, max-age=31536000, immutable", "Vary": "Accept-Encoding"}
    if "gzip" in request.headers.get("accept-encoding", ""):
        headers["Content-Encoding"] = "gzip"
        return Response(packed, headers=headers, media_type=KINDS[Path(name).suffix])
    return Response(gzip.decompress(packed), headers=headers, media_type=KINDS[Path(name).suffix])


@cache
def _version(name: str) -> str:
    return hashlib.sha256(_text(name).encode()).hexdigest()[:12]


@cache
def _packed(name: str) -> bytes:
    return gzip.compress(_text(name).encode(), mtime=0)


def _text(name: str) -> str:
    if name == PLOTLY:
        return str(plotly.offline.get_plotlyjs())
    return str(page_script()) if name == PAGE_SCRIPT else (PLACES[name] / name).read_text(encoding="utf-8")
