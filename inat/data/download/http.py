"""Download one large file over HTTP; after a cut or a crash, continue where it stopped.

requests makes the connections (W&B and Ray install it anyway), tenacity the retries. Resuming is written here because
no library does it safely: pooch starts over, pypdl sends no If-Range and appends any answer, and urllib3's Retry ends
where the body begins.
"""

import json
import os
import ssl
from collections.abc import Iterator
from contextlib import suppress
from http.client import IncompleteRead
from pathlib import Path
from typing import Final

import requests
from requests.exceptions import ChunkedEncodingError, RequestException
from rich.filesize import decimal
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential

from inat.data.disk import check_space
from inat.data.download.messages import FULL_DISK_ADVICE, show_progress
from inat.errors import DataError
from inat.study.atomic_io import atomic_write

CHUNK: Final = 1 << 16  # bytes; a cut loses at most one chunk
TIMEOUT: Final = (15, 60)  # seconds to connect, and between two bytes
# Tries in a row without a new byte, after the last one with some: half a minute, with waits of 1, 2, 4, 8 and 16 s.
TRIES: Final = 6
WAIT = wait_exponential(max=60)
TRANSIENT_STATUSES: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
UNPACKED: Final = 1.2  # bytes of disk per byte of archive: JPEGs hardly shrink, and files fill whole blocks


class ConnectionCutError(Exception):
    """The connection failed; requesting the rest again may help."""


class ResumableFile:
    """The part of a file that is on the disk, and a note beside it: address, version and size of the whole file."""

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
        """Download the rest of the file; DataError if that fails, and the part is kept for the next run."""
        retrying = Retrying(
            retry=retry_if_exception_type(ConnectionCutError),
            stop=stop_after_attempt(TRIES),
            wait=WAIT,
            after=self._reset_tries_after_progress,
            before_sleep=self._print_retry,
            reraise=True,
        )
        try:
            retrying(self._fetch_rest)
        except ConnectionCutError as cut:
            raise DataError(
                f"{TRIES} tries in a row brought nothing new from {self.url} ({self.have:,} bytes are here): {cut}; "
                "check network and address, then run the same command to continue from there"
            ) from cut

    def _read_note(self) -> tuple[str | None, int]:
        # Without a note for this address the size is unknown, so the first answer replaces the file on the disk.
        with suppress(FileNotFoundError, ValueError):  # a power cut may leave the note empty
            url, version, size = json.loads(self._note.read_text(encoding="utf-8"))
            if url == self.url:
                return version, size
        return None, -1

    def _reset_tries_after_progress(self, state: RetryCallState) -> None:
        # A bad line may break 100 times in 3.6 GB: only tries without a new byte count towards TRIES.
        # tenacity calls this before `wait` and `stop`, which both read the number.
        if self.have > self._best:
            self._best, state.attempt_number = self.have, 1

    def _print_retry(self, state: RetryCallState) -> None:
        if state.outcome and state.next_action:
            wait = f"trying {self.url} again in {state.next_action.sleep:.0f} s"
            print(f"{state.outcome.exception()}; {wait}", flush=True)

    def _fetch_rest(self) -> None:
        if self.have == self._size:
            return
        with self._ask() as response:
            if response.status_code == 206:
                self._check_rest(response)
            else:
                self._start_over(response)
            rest = self._size - self.have
            need = rest + int(UNPACKED * self._size)
            check_space(self.path.parent.parent, need, "fetching and unpacking", FULL_DISK_ADVICE)
            print(f"fetching {decimal(rest)} of {decimal(self._size)} from {self.url}", flush=True)
            with open(self.path, "ab") as file, show_progress("fetched", self._size, self.have) as advance:
                for chunk in _chunks(response):
                    advance(file.write(chunk))
        if self.have != self._size:
            raise ConnectionCutError(f"{self.have:,} bytes came, {self._size:,} were declared")

    def _ask(self) -> requests.Response:
        headers = {"Accept-Encoding": "identity"}  # otherwise the lengths could be those of a compressed body
        if self.have and self._version:
            headers |= {"Range": f"bytes={self.have}-", "If-Range": self._version}
        try:
            response = requests.get(self.url, headers=headers, stream=True, timeout=TIMEOUT)
        except (requests.ConnectionError, requests.Timeout, ChunkedEncodingError) as error:
            if not isinstance(_root_cause(error), ssl.SSLCertVerificationError):
                raise ConnectionCutError(_reason(error)) from error
            advice = "let REQUESTS_CA_BUNDLE name a file with your network's certificates"
            raise DataError(f"cannot trust {self.url}: {_reason(error)}; {advice}") from error
        except (RequestException, ValueError) as error:
            raise DataError(f"cannot fetch {self.url!r}: {error}; check --url") from error
        if response.status_code not in (200, 206):
            response.close()
            self._raise_for(response)
        return response

    def _raise_for(self, response: requests.Response) -> None:
        answer = f"{response.status_code} {response.reason}"
        if response.status_code in TRANSIENT_STATUSES:
            raise ConnectionCutError(f"it answered {answer}")
        if response.status_code == 416:
            have, size = self.have, self._size
            self.forget()
            raise DataError(
                f"{self.url} has nothing after {have:,} bytes although it declared {size:,}; check --url, "
                "or run the same command to start over"
            )
        raise DataError(f"{self.url} answered {answer}; check --url")

    def _check_rest(self, response: requests.Response) -> None:
        # Not every server honours If-Range, so the rest may be of another version.
        given = response.headers.get("Content-Range", "")
        expected = f"bytes {self.have}-{self._size - 1}/{self._size}"
        if given != expected or _version(response) not in (None, self._version):
            self.forget()
            raise ConnectionCutError(f"the rest does not fit: {given!r} in place of {expected!r}, or another version")

    def _start_over(self, response: requests.Response) -> None:
        """Start with a whole file: the first time, for a changed file, or if the server does not support Range."""
        length = response.headers.get("Content-Length", "")
        if not length.isdecimal():
            raise DataError(
                f"{self.url} does not declare its length, so a cut could not be noticed; pass another --url"
            )
        if self.have:
            print("the server sends it from the beginning: the part that was here is discarded", flush=True)
        self.forget()  # before the note is written: the bytes must never be of another version than the note says
        self._version, self._size = _version(response), int(length)
        atomic_write(self._note, json.dumps([self.url, self._version, self._size]))


def _chunks(response: requests.Response) -> Iterator[bytes]:
    try:
        yield from response.iter_content(CHUNK)
    except RequestException as error:
        raise ConnectionCutError(_reason(error)) from error


def _version(response: requests.Response) -> str | None:
    """The value for If-Range: a strong ETag, or else the date of the last change."""
    tag = response.headers.get("ETag", "W/")
    return response.headers.get("Last-Modified") if tag.startswith("W/") else tag


def _reason(error: BaseException) -> str:
    """The message of the system, which the HTTP libraries wrap in their own exceptions."""
    cause = _root_cause(error)
    if isinstance(cause, IncompleteRead):
        return "the connection was closed before the end"
    return getattr(cause, "strerror", None) or str(cause)


def _root_cause(error: BaseException) -> BaseException:
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    return error
