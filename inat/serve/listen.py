"""Listen at an address and serve the pages until Ctrl-C."""

import errno
import logging
import secrets
import socket
from contextlib import suppress
from pathlib import Path

import uvicorn

from inat.errors import ConfigError, StudyError
from inat.serve.access import TOKEN, Access, is_loopback
from inat.serve.app import make_app
from inat.serve.listing import find_studies

TOKEN_BYTES = 24
SECONDS_TO_END = 1  # for answers that are on their way


def serve(folder: Path, host: str, port: int, *, with_token: bool = False) -> None:
    """Serve the studies in ``folder`` until Ctrl-C; ``with_token``: ask for a token on loopback too.

    Raises StudyError if the folder cannot be read, and ConfigError if the address cannot be had.
    """
    empty = not check_folder(folder)
    local = is_loopback(host)
    token = secrets.token_urlsafe(TOKEN_BYTES) if with_token or not local else None
    with listening_socket(host, port) as listener:
        port = listener.getsockname()[1]
        app = Access(make_app(folder), token=token, local_only=local, port=port)
        print(f"serving {folder} at {address(host, port, token)} (Ctrl-C ends it)", flush=True)
        if empty:
            print(f"{folder} has no study yet; the page shows each one once its search has begun", flush=True)
        logging.getLogger("asyncio").setLevel(logging.ERROR)
        config = uvicorn.Config(
            app, log_level="error", access_log=False, server_header=False, lifespan="on",
            timeout_graceful_shutdown=SECONDS_TO_END,
        )  # fmt: skip
        with suppress(KeyboardInterrupt):  # which uvicorn raises again once it has ended
            uvicorn.Server(config).run(sockets=[listener])


def check_folder(folder: Path) -> bool:
    """Whether there is a study in ``folder``, or it is one; it need not exist before its first study.

    StudyError if neither the folder nor the one that would hold it exists, or if it cannot be read.
    """
    try:
        return bool(find_studies(folder))
    except FileNotFoundError as error:
        if folder.absolute().parent.is_dir():
            return False
        raise _no_folder(folder, error) from error
    except OSError as error:
        raise _no_folder(folder, error) from error


def _no_folder(folder: Path, error: OSError) -> StudyError:
    return StudyError(
        f"no folder {folder} to serve ({error.strerror}); name that of your studies, as in `inat serve results`"
    )


def listening_socket(host: str, port: int) -> socket.socket:
    """A socket that listens at the address; ConfigError if another program does, or the machine has no such address."""
    try:
        (family, _, _, _, place), *_ = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        return socket.create_server(place[:2], family=family)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise ConfigError(
                f"port {port} of {host} is in use by another program; pass another one, as in --port {port + 1}, or "
                "--port 0 for any free one"
            ) from error
        reason = error.strerror or error
        raise ConfigError(f"cannot listen at {host}, port {port} ({reason}); pass another --host or --port") from error


def address(host: str, port: int, token: str | None) -> str:
    """The address to open; of a server that listens everywhere, with the name of this machine."""
    name = socket.gethostname() if host in ("0.0.0.0", "::") else f"[{host}]" if ":" in host else host
    return f"http://{name}:{port}/{f'?{TOKEN}={token}' if token else ''}"
