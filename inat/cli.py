"""From the command line to one call: options become a dataclass, and an error becomes one line and an exit code."""

import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import NoReturn, TypeVar

import tyro

from analysis.option_help import registry
from analysis.run_card import program, run_card, wrapped_usage
from analysis.terminal import prepare_output
from inat.config.search import ResumeOption, SearchConfig, check_resumable
from inat.constants import SEARCH_KIND
from inat.errors import ConfigError, InatError, StudyError, system_error
from inat.home import replace_unwritable_home
from inat.signals import as_keyboard_interrupt
from inat.study.metadata import read_info

Command = TypeVar("Command")
Search = TypeVar("Search", bound=SearchConfig)
INTERRUPTED = 130  # the shell's exit code for a process that Ctrl-C ended; also for SIGTERM and a closed terminal


def parse(
    command: type[Command],
    *,
    default: Command | None = None,
    args: Sequence[str] | None = None,
    description: str | None = None,
) -> Command:
    """The command line as an instance of the dataclass ``command``; a usage error exits with code 2."""
    with wrapped_usage():
        return tyro.cli(
            command,
            prog=program(),
            args=args,
            description=description and run_card(description),
            default=tyro.MISSING_NONPROP if default is None else default,
            config=(tyro.conf.OmitArgPrefixes,),
            registry=registry(),
        )


def run_command(command: type[Command], run: Callable[[Command], object], description: str | None = None) -> None:
    """Parse the command line and call ``run`` with the options; an InatError becomes one line and its exit code.

    The help begins with ``description``, by default the docstring of the module that was started.
    """
    guard(lambda: run(parse(command, description=description or sys.modules["__main__"].__doc__)))


def run_app(app: tyro.extras.SubcommandApp, description: str) -> None:
    """Parse the command line and call the subcommand that it names; errors as in ``run_command``."""
    config = (tyro.conf.OmitArgPrefixes,)
    with wrapped_usage():
        guard(lambda: app.cli(prog=program(), description=run_card(description), config=config, registry=registry()))


def guard(run: Callable[[], object]) -> None:
    """Call ``run``; an error for the user becomes one line on stderr and an exit code, a traceback with --debug."""
    prepare_output()
    try:
        with as_keyboard_interrupt():
            _check_current_folder()
            replace_unwritable_home()
            run()
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
        _end(f"error: {user_error}", user_error.exit_code)


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


def parse_search(kind: type[Search], description: str, args: Sequence[str] | None = None) -> Search:
    """The options of a search; with --resume, the study's options and those changes that keep its trials comparable."""
    resume = tyro.cli(ResumeOption, args=args, return_unknown_args=True, add_help=False)[0].resume
    if resume is None:
        return parse(kind, args=args, description=description)
    info = read_info(resume.expanduser())
    if (made_by := info.get(SEARCH_KIND, SearchConfig.KIND)) != kind.KIND:
        raise StudyError(f"{resume} is a study of tune_{made_by}.py; run python tune_{made_by}.py --resume {resume}")
    stored = kind.from_json(info["config"])
    wanted = parse(kind, default=stored, args=args, description=description)
    check_resumable(stored, wanted)
    return wanted
