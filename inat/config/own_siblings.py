"""The files that a user's own network imports from its own folder: found by their import statements, without running.

`from blocks import Block` in my_net.py means blocks.py, or the package blocks, beside my_net.py. A file with the name
of an installed package is refused: which of the two is meant would depend on the machine.
"""

import ast
import functools
import site
import sys
import sysconfig
from collections.abc import Iterator
from importlib.machinery import PathFinder
from pathlib import Path, PurePosixPath

from inat.errors import ConfigError

OF_PROGRAM = frozenset({"inat", "analysis"})  # packages that a network may use, and that are no part of it
MAX_BYTES = 10_000_000  # of a file
MOST_FILES = 500
INIT = "__init__.py"


def read_python(path: Path, role: str, missing: str) -> bytes:
    """The content of a Python file; ConfigError if it cannot be read or is none.

    ``role`` says what the file is for, ``missing`` the same where there is no file.
    """
    try:
        if not path.is_file():
            raise ConfigError(f"there is no file {path}; {missing}")
        if path.stat().st_size > MAX_BYTES:
            raise ConfigError(f"{path} is larger than {MAX_BYTES // 1_000_000} MB; {role}")
        source = path.read_bytes()
        compile(source, str(path), "exec")
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({error.strerror or error}); {role}") from error
    except (SyntaxError, ValueError) as error:  # the latter for NUL characters
        line = f", line {error.lineno}," if isinstance(error, SyntaxError) and error.lineno else ""
        raise ConfigError(f"{path}{line} is no valid Python ({getattr(error, 'msg', error)}); correct it") from error
    return source


def read_siblings(path: Path, source: bytes) -> dict[str, bytes]:
    """The files that the Python file ``path`` imports from its folder, and those that they import, by relative path.

    Raises ConfigError for a file that is no Python, and for one that has the name of an installed package.
    """
    found: dict[str, bytes] = {}
    waiting = [(PurePosixPath(path.name), source)]
    while waiting:
        importer, text = waiting.pop()
        for name in imported_names(text, importer):
            for relative in _files_of(path.parent, name):
                key = relative.as_posix()
                if key in found or key == path.name:
                    continue
                _refuse_installed(path, relative)
                if len(found) == MOST_FILES:
                    raise ConfigError(
                        f"{path} imports more than {MOST_FILES} files of its folder; install them as a package"
                    )
                role = f"{path.name} imports this file"
                found[key] = read_python(path.parent / relative, role, role)
                waiting.append((relative, found[key]))
    return dict(sorted(found.items()))


def imported_names(source: bytes, importer: PurePosixPath) -> Iterator[str]:
    """Dotted names that a file imports, seen from the folder of the network; those in functions count, too.

    >>> list(imported_names(b"import a.b; from . import c; from d import e", PurePosixPath("net/file.py")))
    ['a.b', 'net', 'net.c', 'd', 'd.e']
    """
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = importer.parent.parts
            if node.level > len(package) + 1:
                continue  # outside of the folder: running the file says so
            above = package[: len(package) - node.level + 1] if node.level else ()
            parts = [*above, *([node.module] if node.module else [])]
            yield from [".".join(parts)] if parts else []
            yield from (".".join([*parts, alias.name]) for alias in node.names if alias.name != "*")


def _files_of(folder: Path, name: str) -> Iterator[PurePosixPath]:
    """The files that importing a dotted name runs, relative to ``folder``; none if it is no name of that folder."""
    parts = name.split(".")
    if parts[0] in OF_PROGRAM:
        return
    for length in range(1, len(parts) + 1):
        module = PurePosixPath(*parts[:length])
        if (folder / module / INIT).is_file():
            yield module / INIT
        elif (folder / f"{module}.py").is_file():
            yield PurePosixPath(f"{module}.py")
            return
        elif not (folder / module).is_dir():
            return


def _refuse_installed(path: Path, relative: PurePosixPath) -> None:
    name = relative.parts[0].removesuffix(".py")
    # Not all of sys.path: the folder of the script, or the current one, may be that of the network.
    spec = PathFinder.find_spec(name, _package_folders())
    if name in sys.stdlib_module_names or (spec is not None and spec.origin is not None):
        raise ConfigError(
            f"{path.parent / relative.parts[0]}, which {path.name} imports, has the name of an installed package; "
            "rename it"
        )


@functools.cache
def _package_folders() -> list[str]:
    folders = [*site.getsitepackages(), site.getusersitepackages(), *map(sysconfig.get_path, ("purelib", "platlib"))]
    return list(dict.fromkeys(folders))
