"""Imports of a user's own network: files of its folder, as they were read, under names that no other code sees.

Two networks may each have a blocks.py. Nothing of the folder enters ``sys.path``, so no package is shadowed. Import
statements find files only as they were read when the user named the network; ``importlib`` may find others.
"""

import builtins
import importlib
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from importlib.abc import InspectLoader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path, PurePosixPath
from types import CodeType, ModuleType
from typing import Any

from inat.config.own_siblings import INIT


class Siblings(MetaPathFinder):
    """Finds the modules of one network below the package ``prefix``; ``files`` are their sources by relative path.

    ``main`` is the name under which they may import the network's own file.
    """

    def __init__(self, prefix: str, folder: Path, files: Mapping[str, bytes], main: str) -> None:
        self.prefix, self.folder, self.files, self.main = prefix, folder, files, main

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """See MetaPathFinder."""
        if not fullname.startswith(f"{self.prefix}."):
            return None
        place = fullname.removeprefix(f"{self.prefix}.").replace(".", "/")
        is_package = any(name.startswith(f"{place}/") for name in self.files)
        name = f"{place}/{INIT}" if is_package else f"{place}.py"
        if not is_package and name not in self.files:
            return None
        return ModuleSpec(fullname, _Loader(self, name), origin=str(self.folder / name), is_package=is_package)

    def owns(self, name: str) -> bool:
        """Whether the top of a dotted name is one of the files or folders."""
        top = name.partition(".")[0]
        return any(PurePosixPath(file).parts[0].removesuffix(".py") == top for file in self.files)

    def run(self, module: ModuleType, code: CodeType) -> None:
        """Run code in ``module``, whose imports see the files first."""
        scope = vars(module)
        if self.files:
            scope["__builtins__"] = {**vars(builtins), "__import__": partial(_import, self)}
        exec(code, scope)


class _Loader(InspectLoader):
    """Runs one of the files; a folder without __init__.py has no code."""

    def __init__(self, siblings: Siblings, name: str) -> None:
        self._siblings, self._name = siblings, name

    def get_source(self, fullname: str) -> str:
        return self._siblings.files.get(self._name, b"").decode(errors="replace")

    def exec_module(self, module: ModuleType) -> None:
        path = self._siblings.folder / self._name
        module.__file__ = str(path)
        self._siblings.run(module, compile(self._siblings.files.get(self._name, b""), str(path), "exec"))


def _import(
    siblings: Siblings,
    name: str,
    globals: Mapping[str, Any] | None = None,
    locals: Mapping[str, Any] | None = None,
    fromlist: Sequence[str] | None = (),
    level: int = 0,
) -> ModuleType:
    """The built-in ``__import__`` with the files of the folder first."""
    if not level and name == siblings.main:
        return sys.modules[siblings.prefix]  # as it was read, not as the folder has it now
    if level or not siblings.owns(name):
        return builtins.__import__(name, globals, locals, fromlist or (), level)
    full = f"{siblings.prefix}.{name}"
    if fromlist:
        return builtins.__import__(full, globals, locals, fromlist, 0)
    importlib.import_module(full)
    return sys.modules[f"{siblings.prefix}.{name.partition('.')[0]}"]
