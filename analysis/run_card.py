"""The text above the options in `--help`: usage, what the command does, and examples, in 80 columns.

The text is the docstring of the command's module. `inat.cli` uses this module too.
"""

import contextlib
import re
import shlex
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

STARTED_AS = "__started_as__"  # global of __main__: what the user typed, if that is not the module's name
WIDTH = 79
INDENT = " " * 4
# Lines are not broken inside text in quotes, text in brackets, or an option with its value.
UNBROKEN = re.compile(r"\"[^\"]*\"|\[[^\]]*\]|--[\w-]+ [^-\s]\S*")


def program() -> str:
    """The command that started this process, for usage lines and examples: "python -m inat.predict"."""
    main = sys.modules["__main__"]
    started_as: str | None = getattr(main, STARTED_AS, None)
    if started_as:
        return started_as
    spec = getattr(main, "__spec__", None)
    return (
        f"python -m {spec.name.removesuffix('.__main__')}" if spec else shlex.join(["python", _shortest(sys.argv[0])])
    )


def _shortest(script: str) -> str:
    """The path of a script from here, if it is below the working directory and that is shorter."""
    try:
        return str(Path(script).relative_to(Path.cwd()))
    except (ValueError, OSError):  # elsewhere, or the working directory is gone
        return script


def run_card(docstring: str) -> str:
    """The docstring of a command's module as `--help` shows it.

    Paragraphs are wrapped. A paragraph of lines "python ...  # comment" becomes a list of examples, which name the
    command as the user started it; if the list is too wide, the comments move above the commands.
    """
    parts = filter(None, _as_started(docstring).strip().split("\n\n"))  # python -OO leaves no docstrings
    return "\n\n".join(_examples(part) if part.split()[0] in ("python", "inat") else _paragraph(part) for part in parts)


def _as_started(text: str) -> str:
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    if spec is None:
        return text
    module = spec.name.removesuffix(".__main__")
    script = module.rpartition(".")[2]
    return re.sub(rf"python (-m {re.escape(module)}|{script}\.py)(?![\w.])", program(), text)


def _paragraph(text: str) -> str:
    # tyro joins a line that begins with a letter to the line before: hence the hanging indent.
    return textwrap.fill(text, WIDTH, subsequent_indent="  ", break_on_hyphens=False)


def _examples(text: str) -> str:
    lines = [re.split(r"\s+# ", line.strip(), maxsplit=1) for line in text.splitlines()]
    column = max(len(command) for command, *_ in lines) + 2
    if len(INDENT) + column + max(len(f"# {''.join(comment)}") for _, *comment in lines) <= WIDTH:
        shown = [f"{command:{column}}# {comment[0]}" if comment else command for command, *comment in lines]
    else:
        shown = []
        for command, *comment in lines:
            shown += [*(f"# {text}" for text in comment), f" \\\n{INDENT}{INDENT}".join(_wrapped(command, WIDTH - 10))]
    # A heading, because tyro doubles a blank line above an indented one.
    return "\n".join(["Examples:", *(f"{INDENT}{line}" for line in shown)])


def _wrapped(command: str, width: int) -> list[str]:
    whole = UNBROKEN.sub(lambda match: match[0].replace(" ", "\0"), command)
    lines = textwrap.wrap(whole, width, break_long_words=False, break_on_hyphens=False)
    return [line.replace("\0", " ") for line in lines]


@contextlib.contextmanager
def wrapped_usage() -> Iterator[None]:
    """Wraps the usage line that is printed for `--help`; tyro prints it in one line of any length."""
    if {"-h", "--help"}.isdisjoint(sys.argv[1:]):
        yield
        return
    stream: Any = _WrappedUsage(sys.stdout)
    with contextlib.redirect_stdout(stream):
        yield


class _WrappedUsage:
    def __init__(self, stream: Any) -> None:
        self.stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def write(self, text: str) -> int:
        if re.match(r"(\x1b\[\d+m)*usage:", text):
            text = ("\n" + " " * 7).join(_wrapped(text, WIDTH - 7))
        written: int = self.stream.write(text)
        return written
