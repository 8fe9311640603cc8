"""From the command line to one call: options become a dataclass, and an error becomes one line and an exit code."""

import os
import sys
from collections.abc import Callable, Sequence
from typing import TypeVar

import tyro

from analysis.option_help import registry
from analysis.run_card import program, run_card, wrapped_usage
from inat.config.search import ResumeOption, SearchConfig, check_resumable
from inat.constants import SEARCH_KIND
from inat.errors import InatError, StudyError
from inat.study.metadata import read_info

Command = TypeVar("Command")
Search = TypeVar("Search", bound=SearchConfig)
KERNEL_PROCESS = "JPY_PARENT_PID"  # which Jupyter sets for the processes that a notebook starts
INTERRUPTED = 130  # the shell's exit code for a process that Ctrl-C ended


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
    _print_lines_in_notebooks()
    try:
        run()
    except InatError as error:
        if "--debug" in sys.argv:
            raise
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        # The process that read the output, such as `| head`, has ended. Without this, Python would print a second error
        # when it closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        print("error: the reader of the output has closed it; write the output to a file instead", file=sys.stderr)
        sys.exit(1)


def _print_lines_in_notebooks() -> None:
    """Make Rich print lines, not live bars, in the cells of a notebook.

    `!inat ...` gets a pseudo-terminal and FORCE_COLOR from Jupyter, Colab and Kaggle, but a cell ignores the codes that
    move the cursor: each refresh of a bar would stay there as lines of its own.
    """
    if KERNEL_PROCESS in os.environ:
        os.environ.setdefault("TTY_COMPATIBLE", "0")


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
