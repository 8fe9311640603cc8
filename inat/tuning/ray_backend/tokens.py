"""Ray's token: whoever has it can run code in the workers of a session, so that no other user may read it."""

import os
import secrets
import stat
from pathlib import Path

from ray._raylet import AuthenticationTokenLoader, Config  # type: ignore[attr-defined]  # compiled, without types

from inat.config.validation import expanded
from inat.errors import ConfigError

MODE, TOKEN, TOKEN_PATH = "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"  # Ray's environment variables
TOKEN_FILE = "~/.ray/auth_token"
PRIVATE_MODE = 0o600


def environment_of_new_token(folder: Path) -> dict[str, str | None]:
    """Write a new token to ``folder``; returns the variables that make Ray's servers and workers use it (None: unset).

    Ray itself would write ~/.ray/auth_token with the mode that the umask gives, by default readable by all users.
    """
    path = folder / "token"
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE_MODE), "w") as file:
        file.write(secrets.token_hex(32))
    return {MODE: "token", TOKEN_PATH: str(path), TOKEN: None}


def read_environment_again() -> None:
    """Make Ray use the present values of the variables; it reads them when it is imported, and keeps the token."""
    Config.initialize("")  # before the cache is dropped: a thread of an old session may load the token at this moment
    AuthenticationTokenLoader.instance().reset_cache()


def use_token_of_user() -> None:
    """Use the token that the user has for a cluster; ConfigError if other users can read it."""
    path = expanded(os.environ.get(TOKEN_PATH) or TOKEN_FILE)
    if TOKEN not in os.environ and path.is_file():
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & 0o077:
            raise ConfigError(
                f"Ray's token {path} has mode {mode:03o}, so other users can read it and run code on the cluster; "
                f"run `chmod 600 {path}`, and make a new token if you do not trust the users of this machine"
            )
    read_environment_again()
