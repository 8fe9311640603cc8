"""Show the studies in a folder as web pages that refresh themselves while searches run.

inat serve                            # the studies in results/, at http://127.0.0.1:8321/
inat serve results/STUDY --port 9000  # one study
inat serve --host 0.0.0.0             # also for other machines; the address has a token

The pages only read studies and load nothing from elsewhere. Over SSH: ssh -L 8321:127.0.0.1:8321 HOST, then open
http://127.0.0.1:8321/ on your own machine.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from inat.cli import run_command
from inat.config.validation import expanded, raise_if_any

HIGHEST_PORT = 65_535


@dataclass(frozen=True, kw_only=True, slots=True)
class ServeCommand:
    """Show studies in a browser."""

    folder: tyro.conf.Positional[Path] = Path("results")
    """Folder of the studies, or one study."""
    port: Annotated[int, "N"] = 8321
    """Port to listen at; 0 for any free one."""
    host: Annotated[str, "ADDR"] = "127.0.0.1"
    """Address to listen at. Other machines can reach any address but those of loopback; the pages then ask for a
    token."""
    token: bool = False
    """Ask for a token on loopback too, for a machine that other people log in to."""
    debug: bool = False
    """Show tracebacks."""

    def __post_init__(self) -> None:
        in_range = 0 <= self.port <= HIGHEST_PORT
        raise_if_any([] if in_range else [f"port must be from 0 to {HIGHEST_PORT}, got {self.port}"])


def main(command: ServeCommand) -> None:
    """Run the command; the server's libraries load only after the options have been checked."""
    from inat.serve.listen import serve

    serve(expanded(command.folder), command.host, command.port, with_token=command.token)


if __name__ == "__main__":
    run_command(ServeCommand, main, description=__doc__)
