"""The server's addresses, and what each of them answers."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from markupsafe import Markup
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from analysis.report.page import PageParts
from analysis.schema import RUNNING
from analysis.side_by_side.same_data import OPTION
from analysis.study import StudyData, load_study
from inat.serve import error_files, files
from inat.serve.kept import Entry, Kept
from inat.serve.listing import REPORTED_FILES, Listing, Stamp, Summary, stamp_of
from inat.serve.pages import render_page
from inat.serve.trials import Choice, trials_content
from inat.serve.worker import Worker
from inat.study.activity import changed

REPORT_PAUSE = 10.0  # seconds between two reports of a study
TABLE_PAUSE = 2.0  # seconds between two looks at the tables of a study
FIRST_REPORT_SECONDS, FIRST_TABLE_SECONDS = 1.0, 30.0  # to wait for the first one before a page says that it comes
REPORT_HTML = "report.html"  # of a study; analysis.report.write has this name, too, but takes a second to import
RUNNING_SECONDS, CALM_SECONDS = (
    3,
    15,
)  # until an open page asks again, if a search runs and if not
NO_STUDY = "There is no study of this name. It may have been removed, or it has another name: the list has all of them."


class Site:
    """The pages of the studies in one folder."""

    def __init__(self, folder: Path) -> None:
        self.listing = Listing(folder)
        self.worker = Worker()
        self.tables = Kept[str, StudyData](self._load, TABLE_PAUSE)
        self.reports = Kept[tuple[Any, ...], PageParts](self._build, REPORT_PAUSE)
        self._paths: dict[str, Path] = {}

    async def studies(self, request: Request) -> Response:
        """The list of all studies."""
        rows = await run_in_threadpool(self.listing.summaries)
        pause = RUNNING_SECONDS if any(row.state == RUNNING for row in rows) else CALM_SECONDS
        folder = str(self.listing.folder)
        return await page(request, "studies.html", rows, pause=pause, title="Studies", rows=rows, folder=folder)

    async def report(self, request: Request) -> Response:
        """The report of one study, or why there is none yet."""
        path, row = await self._find(request)
        if path is None or row is None:
            return await self._missing(request)
        stamp = await run_in_threadpool(stamp_of, path, REPORTED_FILES)
        if not row.done:
            return await self._waiting(request, row, stamp, None, path)
        entry = self.reports.get((row.name,), stamp)
        await entry.first(FIRST_REPORT_SECONDS)
        if entry.value is None:
            return await self._waiting(request, row, stamp, entry, path)
        return await self._report(request, row, entry)

    async def _report(self, request: Request, row: Summary, entry: Entry[PageParts]) -> Response:
        version = (entry.version, entry.error, row)
        pause = RUNNING_SECONDS if row.state == RUNNING or entry.task else CALM_SECONDS
        return await page(
            request, "report.html", version, pause=pause, made=entry.made, parts=entry.value, row=row,
            error=entry.error, title=row.name,
        )  # fmt: skip

    async def _waiting(
        self, request: Request, row: Summary, stamp: Stamp, entry: Entry[PageParts] | None, path: Path
    ) -> Response:
        """The page of a study whose report is being made, or whose first trial runs; names a report in the study."""
        table = self.tables.get(row.name, stamp)
        await table.first(FIRST_TABLE_SECONDS)
        error = table.error or (entry.error if entry else "")
        content = await run_in_threadpool(trials_content, table.value, Choice(state=RUNNING)) if table.value else {}
        written = await run_in_threadpool(changed, path / REPORT_HTML)
        version = (table.version, error, row, bool(entry and entry.task), written)
        return await page(
            request, "waiting.html", version, pause=RUNNING_SECONDS, made=table.made, row=row, error=error,
            building=entry is not None, written=written and datetime.fromtimestamp(written, UTC).isoformat(),
            written_to=str(path / REPORT_HTML), title=row.name, **content,
        )  # fmt: skip

    async def trials(self, request: Request) -> Response:
        """The trials of one study, with the curves of the chosen ones."""
        path, row = await self._find(request)
        if path is None or row is None:
            return await self._missing(request)
        stamp = await run_in_threadpool(stamp_of, path, REPORTED_FILES)
        entry = self.tables.get(row.name, stamp)
        await entry.first(FIRST_TABLE_SECONDS)
        errors = await run_in_threadpool(error_files.find, path)
        version = (entry.version, entry.error, row, str(request.query_params), sorted(errors))
        pause = RUNNING_SECONDS if row.state == RUNNING else CALM_SECONDS

        def content() -> dict[str, Any]:
            choice = Choice.of(request.query_params)
            return trials_content(entry.value, choice) if entry.value else {"choice": choice, "count": 0}

        return await page(
            request, "trials.html", version, content, pause=pause, made=entry.made, row=row, error=entry.error,
            with_errors=errors, title=f"Trials of {row.name}",
        )  # fmt: skip

    async def errors(self, request: Request) -> Response:
        """The error texts of one failed trial."""
        path, row = await self._find(request)
        if path is None or row is None:
            return await self._missing(request)
        found = (await run_in_threadpool(error_files.find, path)).get(request.path_params["trial"])
        if found is None:
            return await message(request, 404, "No error text", "This study has no error text of such a trial.")
        texts = {file.name: await run_in_threadpool(error_files.read, file, path) for file in found}
        trial = request.path_params["trial"]
        return await page(
            request, "errors.html", texts, pause=CALM_SECONDS, row=row, trial=trial, texts=texts,
            title=f"Errors of {trial}",
        )  # fmt: skip

    async def compare(self, request: Request) -> Response:
        """Several studies side by side."""
        paths = await run_in_threadpool(self.listing.paths)
        names = sorted(set(request.query_params.getlist("study")))
        if unknown := [name for name in names if name not in paths]:
            return await message(request, 404, "No such study", f"There is no study {unknown[0]!r} in the list.")
        if len(names) < 2:
            return await message(request, 400, "Nothing to compare", "Choose two studies or more in the list.")
        self._paths |= {name: paths[name] for name in names}
        stamps = await run_in_threadpool(lambda: tuple(stamp_of(paths[name], REPORTED_FILES) for name in names))
        different = request.query_params.get("different") == "yes"
        entry = self.reports.get((*names, different), stamps)
        await entry.first(FIRST_REPORT_SECONDS)
        version = (entry.version, entry.error, bool(entry.task))
        return await page(
            request, "compare.html", version, pause=RUNNING_SECONDS if entry.value is None else CALM_SECONDS,
            made=entry.made, names=names, parts=entry.value, error=entry.error, can_allow=OPTION in entry.error,
            title=f"Compare {', '.join(names)}",
        )  # fmt: skip

    async def _find(self, request: Request) -> tuple[Path | None, Summary | None]:
        """The study that the address names, if the folder has it; a name is never made into a path."""
        name = request.path_params["name"]
        path = (await run_in_threadpool(self.listing.paths)).get(name)
        if path is None:
            return None, None
        self._paths[name] = path
        return path, await run_in_threadpool(self.listing.summary, name, path)

    async def _missing(self, request: Request) -> Response:
        return await message(request, 404, "No such study", NO_STUDY)

    async def _load(self, name: str) -> StudyData:
        return await asyncio.to_thread(load_study, self._paths[name])

    async def _build(self, key: tuple[Any, ...]) -> PageParts:
        names = [part for part in key if isinstance(part, str)]
        studies = {name: str(self._paths[name]) for name in names}
        texts = await self.worker.ask({"studies": studies, "different_data": key[-1] is True})
        markup = {name: Markup(text) for name, text in texts.items() if name != "title"}
        return PageParts(title=texts["title"], **markup)


async def page(
    request: Request,
    template: str,
    version: object,
    content: Callable[[], dict[str, Any]] = dict,
    *,
    status: int = 200,
    pause: int,
    **values: Any,
) -> Response:
    """An answer with a page, or without one if the browser has this ``version`` of it already.

    ``pause``: seconds until an open page asks again. ``content`` makes more values for the template, in a thread.
    """
    tag = f'"{hashlib.sha256(repr((template, version, pause)).encode()).hexdigest()[:24]}"'
    headers = {"ETag": tag, "Cache-Control": "no-cache"}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    text = await run_in_threadpool(lambda: render_page(template, tag=tag, pause=pause, **(values | content())))
    return Response(text, status, headers, "text/html; charset=utf-8")


async def message(request: Request, status: int, title: str, text: str) -> Response:
    """A page with one sentence."""
    return await page(request, "message.html", text, status=status, pause=CALM_SECONDS, title=title, text=text)


def make_app(folder: Path) -> Starlette:
    """The server for the studies in ``folder``, without the control of who may read them."""
    site = Site(folder)
    addresses: dict[str, Callable[[Request], Awaitable[Response]]] = {
        "/": site.studies, "/compare": site.compare, "/study/{name}": site.report, "/study/{name}/trials": site.trials,
        "/study/{name}/errors/{trial}": site.errors, "/static/{name}": files.answer,
    }  # fmt: skip

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        yield
        await site.worker.end()

    routes = [Route(place, endpoint, methods=["GET"]) for place, endpoint in addresses.items()]

    async def not_found(request: Request, error: Exception) -> Response:
        return await message(request, 404, "No such page", "There is no page at this address.")

    return Starlette(routes=routes, lifespan=lifespan, exception_handlers={404: not_found})
