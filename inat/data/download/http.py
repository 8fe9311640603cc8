"""Bring one large file over HTTP to the disk and, after a cut or a crash, go on where it was.

requests makes the connections (W&B and Ray install it anyway), tenacity the retries. What resumes is written here
because the libraries that could do it do not: pooch starts over, pypdl sends no If-Range and appends whatever is
answered, urllib3's Retry ends where the body begins.
"""

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from http.client import IncompleteRead
from pathlib import Path
from typing import Final

import requests
from requests.exceptions import ChunkedEncodingError, RequestException
from rich.filesize import decimal
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential

from inat.data.image_store_builder import OTHER_DISK, check_space, progress
from inat.errors import DataError
from inat.study.atomic_io import atomic_write

CHUNK: Final = 1 << 16  # a cut loses what had come of one chunk
TIMEOUT: Final = (15, 60)  # seconds to connect, and between two bytes
TRIES: Final = 6  # in a row, the last that brought something included; half a minute with waits of 1, 2, 4, 8 and 16 s
WAIT = wait_exponential(max=60)
PASSING: Final = frozenset({408, 425, 429, 500, 502, 503, 504})  # statuses that a later try may not meet
UNPACKED: Final = 1.2  # disk for the photos per byte of archive: JPEGs hardly shrink, and files fill whole blocks


class Cut(Exception):  # noqa: N818
    """The connection failed; asking again for the rest may help."""


class ResumableFile:
    """A file as far as it is on the disk, with a note of the address, version and size it is a part of."""

    def __init__(self, url: str, path: Path) -> None:
        self.url, self.path, self._note = url, path, path.with_suffix(".json")
        self.path.touch()
        self._version, self._size = self._read_note()
        self._best = self.have

    @property
    def have(self) -> int:
        """Bytes on the disk."""
        return self.path.stat().st_size

    def forget(self) -> None:
        """Start over."""
        os.truncate(self.path, 0)
        self._size = -1

    def fetch(self) -> None:
        """Bring the file to its full size; DataError if that cannot be done, with the part kept for the next run."""
        retrying = Retrying(
            retry=retry_if_exception_type(Cut),
            stop=stop_after_attempt(TRIES),
            wait=WAIT,
            after=self._forgive,
            before_sleep=self._say_retry,
            reraise=True,
        )
        try:
            retrying(self._fetch_rest)
        except Cut as cut:
            raise DataError(
                f"{TRIES} tries in a row brought nothing new from {self.url} ({self.have:,} bytes are here): {cut}; "
                "check network and address, then run the same command to go on from there"
            ) from cut

    def _read_note(self) -> tuple[str | None, int]:
        # Without a fitting note the size is unknown, so the first answer replaces whatever is on the disk.
        with suppress(FileNotFoundError, ValueError):  # a power cut may leave the note empty
            url, version, size = json.loads(self._note.read_text(encoding="utf-8"))
            if url == self.url:
                return version, size
        return None, -1

    def _forgive(self, state: RetryCallState) -> None:
        # A bad line may break 100 times in 3.6 GB: only tries that bring nothing new count towards TRIES.
        # tenacity calls this before it asks `wait` and `stop`, which both read the number.
        if self.have > self._best:
            self._best, state.attempt_number = self.have, 1

    def _say_retry(self, state: RetryCallState) -> None:
        if state.outcome and state.next_action:
            wait = f"trying {self.url} again in {state.next_action.sleep:.0f} s"
            print(f"{state.outcome.exception()}; {wait}", flush=True)

    def _fetch_rest(self) -> None:
        if self.have == self._size:
            return
        with self._ask() as response:
            if response.status_code == 206:
                self._check_continues(response)
            else:
                self._begin(response)
            rest = self._size - self.have
            need = rest + int(UNPACKED * self._size)
            check_space(self.path.parent.parent, need, "fetching and unpacking", OTHER_DISK)
            print(f"fetching {decimal(rest)} of {decimal(self._size)} from {self.url}", flush=True)
            with open(self.path, "ab") as file, progress("fetched", self._size, self.have) as advance:
                for chunk in _chunks(response):
                    advance(file.write(chunk))
        if self.have != self._size:
            raise Cut(f"{self.have:,} bytes came, {self._size:,} were declared")

    def _ask(self) -> requests.Response:
        headers = {"Accept-Encoding": "identity"}  # otherwise the lengths could be those of a compressed body
        if self.have and self._version:
            headers |= {"Range": f"bytes={self.have}-", "If-Range": self._version}
        try:
            response = requests.get(self.url, headers=headers, stream=True, timeout=TIMEOUT)
        except (requests.ConnectionError, requests.Timeout, ChunkedEncodingError) as error:
            if "CERTIFICATE_VERIFY_FAILED" not in str(error):
                raise Cut(_reason(error)) from error
            advice = "let REQUESTS_CA_BUNDLE name a file with your network's certificates"
            raise DataError(f"cannot trust {self.url}: {_reason(error)}; {advice}") from error
        except (RequestException, ValueError) as error:
            raise DataError(f"cannot fetch {self.url!r}: {error}; check --url") from error
        if response.status_code not in (200, 206):
            response.close()
            self._refuse(response)
        return response

    def _refuse(self, response: requests.Response) -> None:
        answer = f"{response.status_code} {response.reason}"
        if response.status_code in PASSING:
            raise Cut(f"it answered {answer}")
        if response.status_code == 416:
            have, size = self.have, self._size
            self.forget()
            raise DataError(
                f"{self.url} has nothing after {have:,} bytes although it declared {size:,}; check --url, "
                "or run the same command to start over"
            )
        raise DataError(f"{self.url} answered {answer}; check --url")

    def _check_continues(self, response: requests.Response) -> None:
        # Not every server honours If-Range, so a part of another version may come.
        given = response.headers.get("Content-Range", "")
        expected = f"bytes {self.have}-{self._size - 1}/{self._size}"
        if given != expected or _version(response) not in (None, self._version):
            self.forget()
            raise Cut(f"the rest does not fit: {given!r} in place of {expected!r}, or another version")

    def _begin(self, response: requests.Response) -> None:
        """Start over with a whole file: the first, a changed one, or all that a server without Range can give."""
        length = response.headers.get("Content-Length", "")
        if not length.isdecimal():
            raise DataError(
                f"{self.url} does not declare its length, so a cut could not be noticed; pass another --url"
            )
        if self.have:
            print("the server sends it from the beginning: the part that was here is of no use", flush=True)
        self.forget()  # before the note, so that the bytes are never of another version than it says
        self._version, self._size = _version(response), int(length)
        atomic_write(self._note, json.dumps([self.url, self._version, self._size]))


def _chunks(response: requests.Response) -> Iterator[bytes]:
    try:
        yield from response.iter_content(CHUNK)
    except RequestException as error:
        raise Cut(_reason(error)) from error


def _version(response: requests.Response) -> str | None:
    """What If-Range can name: a strong ETag, or else the date of the last change."""
    tag = response.headers.get("ETag", "W/")
    return response.headers.get("Last-Modified") if tag.startswith("W/") else tag


def _reason(error: BaseException) -> str:
    """The system's own words, from below the layers of the HTTP libraries."""
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    if isinstance(error, IncompleteRead):
        return "the connection was closed before the end"
    return getattr(error, "strerror", None) or str(error)
