"""A real HTTP server on this computer that serves an archive of images, with the faults that a test sets."""

import io
import random
import ssl
import subprocess
import sys
import threading
import time
import zipfile
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from inat.data.download import command
from inat.errors import DataError
from tests.paths import ROOT

NAMES = [f"{split}/{name}/{i}.jpg" for split in ("train", "val") for name in ("bird", "fish") for i in range(3)]
IMAGES = {name: random.Random(name).randbytes(20_000) for name in NAMES}
TAG, DATE = '"one"', "Mon, 02 Feb 2026 10:00:00 GMT"


def zipped(members, folder="") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(f"{folder}{name}" if isinstance(name, str) else name, content)
    return buffer.getvalue()


class Site(ThreadingHTTPServer):
    """Serves ``body``; each request takes the next of ``statuses`` and ``cuts`` (bytes until the connection ends).

    ``most`` is the largest number of bytes in a 206 answer, whatever it declares.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}/photos.zip"
        self.body, self.headers, self.ranges, self.if_range = zipped(IMAGES), {"ETag": TAG}, True, True
        self.statuses: list[int] = []
        self.cuts: list[int] = []
        self.declared_more, self.stall_at, self.go_on = 0, None, threading.Event()
        self.redirect, self.most = "", len(self.body)
        self.asked: list[str | None] = []

    def handle_error(self, *_) -> None:
        pass  # the tests kill clients


@contextmanager
def serving():
    with Site() as site:
        thread = threading.Thread(target=site.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield site
        finally:
            site.go_on.set()
            site.shutdown()
            thread.join()


class Handler(BaseHTTPRequestHandler):
    server: Site

    def do_GET(self) -> None:
        site, wanted = self.server, self.headers["Range"]
        site.asked.append(wanted)
        if site.statuses:
            return self.send_error(site.statuses.pop(0))
        if site.redirect:
            self.send_response(302)
            self.send_header("Location", site.redirect)
            return self.end_headers()
        version = site.headers.get("ETag") or site.headers.get("Last-Modified")
        resume = wanted and site.ranges and (self.headers["If-Range"] == version or not site.if_range)
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if resume else 0
        if start >= len(site.body):
            return self.send_error(416)
        self.answer(start, len(site.body) + site.declared_more, resume)
        return self.send(site.body[start:][: site.most if resume else None])

    def answer(self, start: int, size: int, resume: bool) -> None:
        self.send_response(206 if resume else 200)
        if resume:
            self.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
        length = min(size - start, self.server.most) if resume else size - start
        for name, value in ({"Content-Length": str(length)} | self.server.headers).items():
            if value is not None:
                self.send_header(name, value)
        self.end_headers()

    def send(self, rest: bytes) -> None:
        site = self.server
        if site.stall_at is not None:
            self.wfile.write(rest[: site.stall_at])
            site.go_on.wait(60)
            rest = rest[site.stall_at :]
        self.wfile.write(rest[: site.cuts.pop(0)] if site.cuts else rest)

    def log_message(self, *_) -> None:
        pass


def self_signed_certificate(path: Path) -> Path:
    """A file with a new private key and a certificate that no authority has signed."""
    key, name, now = ec.generate_private_key(ec.SECP256R1()), x509.Name([]), datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.write_bytes(private + certificate.public_bytes(Encoding.PEM))
    return path


def use_tls(site: Site, certificate: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    site.socket = context.wrap_socket(site.socket, server_side=True)
    site.url = site.url.replace("http://", "https://")


def work(to: Path) -> Path:
    return to.with_name(f".{to.name}.download")


def run(site: Site, to: Path) -> None:
    command.download(command.DownloadCommand(to=to, url=site.url))


def refuse(site: Site, to: Path, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        run(site, to)
    assert "\n" not in str(caught.value)
    assert ";" in str(caught.value)  # the next step


def assert_whole(to: Path, images=IMAGES) -> None:
    found = {path.relative_to(to).as_posix(): path.read_bytes() for path in to.rglob("*") if path.is_file()}
    assert found == images
    assert not work(to).exists()


def files_below(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def interrupt(*_) -> None:
    raise KeyboardInterrupt


def start(site: Site, to: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "inat.data.download", "--to", str(to), "--url", site.url]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for_part(to: Path, size: int) -> None:
    archive, deadline = work(to) / "archive.zip", time.monotonic() + 60
    while not (archive.exists() and archive.stat().st_size == size):
        assert time.monotonic() < deadline
        time.sleep(0.01)
