"""From the command line to one call: options become a dataclass, and an error becomes one line and an exit code."""

import dataclasses
import os
import re
import shlex
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import Any, NoReturn, TypeVar

import tyro

from analysis.escaping import LAYOUT, printable
from analysis.option_help import registry
from analysis.run_card import program, run_card, wrapped_usage
from analysis.terminal import prepare_output
from inat.config.resume import NEEDED, check_named, check_resumable, trusted, typed_options
from inat.config.run_file import RunFile, read_run_file
from inat.config.search import FirstOptions, SearchConfig
from inat.config.validation import expanded
from inat.constants import SEARCH_KIND
from inat.errors import ConfigError, InatError, Interruption, StudyError, system_error
from inat.home import replace_unwritable_home
from inat.signals import as_keyboard_interrupt
from inat.study.metadata import read_info

Command = TypeVar("Command")
Search = TypeVar("Search", bound=SearchConfig)
KERNEL_PROCESS = "JPY_PARENT_PID"  # which Jupyter sets for the processes that a notebook starts
INTERRUPTED = 130  # the shell's exit code for a process that Ctrl-C ended; also for SIGTERM and a closed terminal


def parse(
    command: type[Command],
    *,
    default: Command | None = None,
    args: Sequence[str] | None = None,
    description: str | None = None,
) -> Command:
    """The command line as an instance of the dataclass ``command``; a usage error exits with code 2."""
    with wrapped_usage(), options_in_messages(command):
        return tyro.cli(
            command,
            prog=program(),
            args=args,
            description=description and run_card(description),
            default=tyro.MISSING_NONPROP if default is None else default,
            config=(tyro.conf.OmitArgPrefixes,),
            registry=registry(),
        )


@contextmanager
def options_in_messages(command: type[Any]) -> Iterator[None]:
    """Name the options in the messages of a ConfigError as the user types them: --max-epochs, not max_epochs."""
    try:
        yield
    except ConfigError as error:
        names = [field.name for field in dataclasses.fields(command)]
        long = "|".join(name for name in names if "_" in name) or "(?!)"  # which matches nothing
        about = re.compile(rf"(?:{'|'.join(names)})(?=[ =])")  # other messages are about hyperparameters, for example
        field = re.compile(rf"^{about.pattern}|(?<![\w-])(?:{long})(?!\w)")
        raise ConfigError(
            *(field.sub(_as_option, problem) if about.match(problem) else problem for problem in error.problems)
        ) from error


def _as_option(field: re.Match[str]) -> str:
    return f"--{field[0].replace('_', '-')}"


def run_command(command: type[Command], run: Callable[[Command], object], description: str | None = None) -> None:
    """Parse the command line and call ``run`` with the options; an InatError becomes one line and its exit code.

    The help begins with ``description``, by default the docstring of the module that was started.
    """

    def parse_and_run() -> None:
        with options_in_messages(command):
            run(parse(command, description=description or sys.modules["__main__"].__doc__))

    guard(parse_and_run)


def run_app(app: tyro.extras.SubcommandApp, description: str) -> None:
    """Parse the command line and call the subcommand that it names; errors as in ``run_command``."""
    config = (tyro.conf.OmitArgPrefixes,)
    with wrapped_usage():
        guard(lambda: app.cli(prog=program(), description=run_card(description), config=config, registry=registry()))


def guard(run: Callable[[], object]) -> None:
    """Call ``run``; an error for the user becomes one line on stderr and an exit code, a traceback with --debug."""
    print_lines_in_notebooks()
    prepare_output()
    try:
        with as_keyboard_interrupt():
            _check_current_folder()
            replace_unwritable_home()
            run()
    except Interruption:
        sys.exit(INTERRUPTED)
    except KeyboardInterrupt:
        _end("interrupted", INTERRUPTED)
    except BrokenPipeError:
        # The process that read the output, such as `| head`, has ended. Without this, Python would print a second error
        # when it closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        _end("error: the reader of the output has closed it; write the output to a file instead", 1)
    except (InatError, OSError) as error:
        if "--debug" in sys.argv:
            raise
        user_error = error if isinstance(error, InatError) else system_error(error)
        _end(f"error: {printable(str(user_error), LAYOUT)}", user_error.exit_code)


def _check_current_folder() -> None:
    try:
        os.getcwd()
    except FileNotFoundError as error:
        raise ConfigError("the current folder has been removed; change to another one and start again") from error


def _end(message: str, code: int) -> NoReturn:
    with suppress(OSError):  # the terminal may have been closed
        print(message, file=sys.stderr, flush=True)
    sys.exit(code)


def check_interpreter() -> None:
    """Raise ConfigError if this Python removes docstrings, without which Ray cannot be imported."""
    if sys.flags.optimize >= 2:
        raise ConfigError("Ray does not work under `python -OO`; unset PYTHONOPTIMIZE, or set it to 1")


def print_lines_in_notebooks() -> None:
    """Make Rich print lines, not live bars, in the cells of a notebook.

    The kernel has FORCE_COLOR, and `!inat ...` a pseudo-terminal as well, from Jupyter, Colab and Kaggle. But a cell
    ignores the codes that move the cursor: each refresh of a bar would stay there as lines of its own.
    """
    if KERNEL_PROCESS in os.environ:
        os.environ.setdefault("TTY_COMPATIBLE", "0")


def parse_search(kind: type[Search], description: str, args: Sequence[str] | None = None) -> Search:
    """The options of a search: those typed, then those in the file of --config, then the defaults.

    With --resume, the study's options are the defaults, and only those changes count that keep its trials comparable.

    Raises StudyError if only study.json names what the user must name: somebody else may have made the study.
    """
    first, file = _first_options(args), run_file_of(kind, args)
    typed = typed_options(sys.argv[1:] if args is None else args)
    if first.resume is None:
        with _places(file, typed):
            default = None if file is None else file.over(_unfilled(kind))
            return parse(kind, default=default, args=args, description=description)
    info = read_info(expanded(first.resume))
    if (made_by := info.get(SEARCH_KIND, SearchConfig.KIND)) != kind.KIND:
        command = f"python tune_{made_by}.py --resume {shlex.quote(str(first.resume))}"
        raise StudyError(f"{first.resume} is a study of tune_{made_by}.py; run {command}")
    stored = kind.from_json(info["config"])
    default = trusted(stored)
    with _places(file, typed):
        wanted = parse(kind, default=file.over(default) if file else default, args=args, description=description)
    check_named(first.resume, info["config"], typed | set(file.values if file else ()), NEEDED)
    check_resumable(stored, wanted)
    return wanted


def run_file_of(kind: type[SearchConfig], args: Sequence[str] | None = None) -> RunFile | None:
    """The file of --config; None without one."""
    path = _first_options(args).config
    return None if path is None else read_run_file(path, kind)


def _first_options(args: Sequence[str] | None) -> FirstOptions:
    words = sys.argv[1:] if args is None else args
    if words and words[0].startswith("--tyro-"):  # asks for a completion script, which tyro writes
        return FirstOptions()
    return tyro.cli(FirstOptions, args=args, return_unknown_args=True, add_help=False)[0]


def _places(file: RunFile | None, typed: Collection[str]) -> AbstractContextManager[None]:
    return nullcontext() if file is None else file.places_in_messages(typed)


def _unfilled(kind: type[Search]) -> Search:
    """The defaults as the class has them: those that follow from other options are still open."""
    options = object.__new__(kind)
    for field in dataclasses.fields(kind):
        object.__setattr__(options, field.name, field.default)
    return options
