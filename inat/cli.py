"""From argv to one call: options from dataclasses, errors as one line with an exit code."""

import os
import sys
from collections.abc import Callable, Sequence
from typing import TypeVar

import tyro

from inat.config.search import ResumeOption, SearchConfig, check_resumable
from inat.constants import SEARCH_KIND
from inat.errors import InatError, StudyError
from inat.study.metadata import read_info

Command = TypeVar("Command")
Search = TypeVar("Search", bound=SearchConfig)
INTERRUPTED = 130  # the shell's code for a process ended by Ctrl-C


def parse(
    command: type[Command],
    *,
    default: Command | None = None,
    args: Sequence[str] | None = None,
    description: str | None = None,
) -> Command:
    """Read ``command``'s fields from the command line; wrong options end the process with code 2."""
    start = tyro.MISSING_NONPROP if default is None else default
    config = (tyro.conf.OmitArgPrefixes,)
    return tyro.cli(command, args=args, description=description, default=start, config=config)


def run_command(command: type[Command], run: Callable[[Command], object], description: str | None = None) -> None:
    """Parse and run a command; an InatError becomes one line on stderr and its exit code."""
    guard(lambda: run(parse(command, description=description)))


def guard(run: Callable[[], object]) -> None:
    """Call ``run`` and leave the process as the user expects: a sentence, not a traceback, unless --debug is given."""
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
        # The reader of our output (`| head`) went away; Python would complain again while closing stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        print("error: nobody reads the output any more; write it to a file instead", file=sys.stderr)
        sys.exit(1)


def parse_search(kind: type[Search], description: str, args: Sequence[str] | None = None) -> Search:
    """The search's options; with --resume those of the study, changed only where that leaves its trials comparable."""
    resume = tyro.cli(ResumeOption, args=args, return_unknown_args=True, add_help=False)[0].resume
    if resume is None:
        return parse(kind, args=args, description=description)
    info = read_info(resume.expanduser())
    if (made_by := info.get(SEARCH_KIND, SearchConfig.KIND)) != kind.KIND:
        raise StudyError(f"{resume} is a study of tune_{made_by}.py; resume it with that")
    stored = kind.from_json(info["config"])
    wanted = parse(kind, default=stored, args=args, description=description)
    check_resumable(stored, wanted)
    return wanted
