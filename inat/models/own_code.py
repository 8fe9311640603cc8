"""Run the user's own Python file with a network: only a file that this process has been told to run.

A study or a checkpoint, which somebody else may have made, only has the SHA-256 of the file. So nothing in it can make
this process run code: the user names the file, and its content must have that hash.
"""

import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from traceback import extract_tb
from types import ModuleType
from typing import Annotated, Any

import pytorch_lightning as pl
import tyro

from inat.config.own_model import GIVEN, ModelFile, read_model_file
from inat.errors import ConfigError
from inat.models.own_import import Siblings

# The option of commands that use a trained model, whose first argument is called "model" already.
OwnModelOption = Annotated[str | None, "FILE", tyro.conf.arg(name="model")]

_named: dict[str, ModelFile] = {}


def allow_model_file(file: ModelFile) -> None:
    """Let this process run ``file``, which the user has named; its content is kept, whatever happens to the file.

    >>> from inat.config.own_model import read_model_file
    >>> allow_model_file(read_model_file("my_net.py"))
    """
    _named[file.sha256] = file


def allow_named(text: str | None) -> None:
    """Let this process run the file that the user has named with an option, if any.

    >>> allow_named("my_net.py"), allow_named(None)
    (None, None)
    """
    if text is not None:
        allow_model_file(read_model_file(text))


@dataclass(frozen=True, slots=True)
class OwnCode:
    """The functions of a user's file: ``build`` makes the network, ``stages`` and ``space`` are optional.

    ``arguments`` are those of ``build`` besides the number of classes and the image size; with ``any_argument`` it
    takes others, too. ``is_module``: ``build`` is a LightningModule, which trains itself.
    """

    file: ModelFile
    build: Callable[..., Any]
    arguments: Mapping[str, inspect.Parameter]
    any_argument: bool
    is_module: bool
    stages: Callable[[Any], Any] | None
    space: Callable[[], Any] | None

    @property
    def name(self) -> str:
        """The function, as messages name it: ``build() of my_net.py``."""
        return f"{self.file.function}() of {self.file.path.name}"

    @property
    def required(self) -> list[str]:
        """The arguments without a default."""
        return [name for name, parameter in self.arguments.items() if parameter.default is parameter.empty]


def own_code(sha256: str, function: str, label: str = "") -> OwnCode:
    """The functions of the file with this hash; ConfigError if the user has not named it, or if it lacks ``function``.

    ``label`` is how messages name the file if it is unknown.
    """
    if sha256 not in _named:
        raise ConfigError(_not_named_error(sha256, label or function))
    file = _named[sha256]
    module = _run(sha256)
    build = getattr(module, function, None)
    if not callable(build):
        raise ConfigError(_no_function_error(file, function, module))
    file = replace(file, function=function)
    arguments, any_argument = _arguments(file, build)
    return OwnCode(
        file=file,
        build=build,
        arguments=arguments,
        any_argument=any_argument,
        is_module=inspect.isclass(build) and issubclass(build, pl.LightningModule),
        stages=_optional(module, "stages", file),
        space=_optional(module, "space", file),
    )


def _not_named_error(sha256: str, label: str) -> str:
    name = label.partition(":")[0]
    if others := [file for file in _named.values() if file.path.name == name]:
        return (
            f"{_with_imports(others[-1])} differs from the {name} of this model, whose SHA-256 is {sha256[:16]}...; "
            "restore it, or name the copy in the folder model/ of its study with --model"
        )
    return f"the network comes from {name}, a Python file that runs only if you name it; add --model {name}"


def _with_imports(file: ModelFile) -> str:
    return f"{file.path} or a file that it imports" if file.siblings else str(file.path)


def _no_function_error(file: ModelFile, function: str, module: ModuleType) -> str:
    found = [
        name for name, value in vars(module).items()
        if callable(value) and getattr(value, "__module__", "") == module.__name__ and not name.startswith("_")
    ]  # fmt: skip
    hint = (
        f"; it has {', '.join(found)}; name one with --model {file.path.name}:{found[0]}" if found else "; define one"
    )
    return f"{file.path} has no function {function}(num_classes, image_size){hint}"


def _arguments(file: ModelFile, build: Callable[..., Any]) -> tuple[dict[str, inspect.Parameter], bool]:
    parameters = inspect.signature(build).parameters.values()
    by_name = {p.name: p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    any_argument = any(p.kind is p.VAR_KEYWORD for p in parameters)
    missing = [] if any_argument else [name for name in GIVEN if name not in by_name]
    if missing:
        raise ConfigError(
            f"{file.function}() of {file.path} does not take {' and '.join(missing)}; begin it with "
            f"def {file.function}(num_classes, image_size, ...)"
        )
    return {name: p for name, p in by_name.items() if name not in GIVEN}, any_argument


def _optional(module: ModuleType, name: str, file: ModelFile) -> Callable[..., Any] | None:
    function = getattr(module, name, None)
    if function is not None and not callable(function):
        raise ConfigError(f"{name} of {file.path} is no function; define {name}(), or call the variable otherwise")
    return function


@lru_cache(maxsize=8)
def _run(sha256: str) -> ModuleType:
    file = _named[sha256]
    module = ModuleType(f"own_model_{sha256[:16]}")
    module.__file__, module.__path__ = str(file.path), []
    sys.modules[module.__name__] = module  # dataclasses and type hints look it up
    siblings = Siblings(module.__name__, file.path.parent, dict(file.siblings), file.path.stem)
    sys.meta_path.append(siblings)  # stays: functions may import when they are called
    try:
        siblings.run(module, compile(file.source, str(file.path), "exec"))
    except (Exception, SystemExit) as error:  # a user's file may raise anything and may call sys.exit
        sys.meta_path.remove(siblings)
        for name in [name for name in sys.modules if name.startswith(f"{module.__name__}.")]:
            del sys.modules[name]  # half-made modules would be found by the next attempt
        raise ConfigError(code_error(file, "running it", error)) from error
    return module


def code_error(file: ModelFile, doing: str, error: BaseException) -> str:
    """The message for an error of the user's code: file and line, what was done, and what was raised."""
    text, place = " ".join(str(error).split()), _place_of(error, file)
    return f"{place}: {doing} raised {type(error).__name__}{f' ({text[:300]})' if text else ''}; correct it"


def _place_of(error: BaseException, file: ModelFile) -> str:
    """The file, and the line in it, of the user's code that an error comes from."""
    own = {str(file.path), *(str(file.path.parent / name) for name, _ in file.siblings)}
    frames = [frame for frame in extract_tb(error.__traceback__) if frame.filename in own]
    return f"{frames[-1].filename}, line {frames[-1].lineno}" if frames else str(file.path)
