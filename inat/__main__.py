"""The command `inat`: one name for all commands of the project.

inat --help
inat predict results/STUDY photo.jpg    # the same as: python -m inat.predict results/STUDY photo.jpg
"""

import difflib
import runpy
import sys
from typing import NamedTuple

from analysis.run_card import STARTED_AS
from inat.cli import guard


class Command(NamedTuple):
    """The module that `python -m` would run, one line for the help, and the module's own subcommand."""

    module: str
    line: str
    subcommand: str = ""


GROUPS = {
    "data": {
        "download": Command("inat.data.download", "Download nature_12K, 10 classes of photos (3.6 GB)."),
        "data": Command("inat.data.inspect", "Look at photos before a search, and write a page of them."),
        "cache": Command("inat.data.cache", "List or clear the cached images and features."),
    },
    "search": {
        "tune-scratch": Command("inat.tune_scratch", "Search the hyperparameters of a CNN trained from scratch."),
        "tune-finetune": Command("inat.tune_finetune", "Search how to fine-tune pretrained backbones."),
        "new": Command("inat.new", "Write a file with all options of a search, for --config."),
        "summary": Command("inat.summary", "Print the layers of one CNN of the search space."),
        "rank": Command("inat.rank", "Judge pretrained backbones by their features of your photos."),
        "backbones": Command("inat.models.backbones", "Print the stages of the pretrained backbones."),
    },
    "results": {
        "watch": Command("inat.watch", "Watch a search from another terminal, also afterwards."),
        "serve": Command("inat.serve", "Show studies in a browser, live while searches run."),
        "report": Command("analysis", "Write a study's report.html with its figures.", "report"),
        "compare": Command("analysis", "Print studies side by side.", "compare"),
        "importance": Command("analysis", "Print which hyperparameters matter.", "importance"),
        "claims": Command("analysis", "Check claims about hyperparameters.", "claims"),
        "study": Command("inat.study", "Check a study for damage, and mend what can be mended."),
        "audit": Command("analysis", "Print what early stopping saved and missed.", "audit"),
        "noise": Command("analysis", "Print which trials cannot be told from the best one.", "noise"),
    },
    "models": {
        "finalize": Command("inat.finalize", "Retrain a study's best configurations, and test the winner once."),
        "predict": Command("inat.predict", "Predict the classes of photos."),
        "interpret": Command("inat.interpret", "Draw predictions, feature maps and saliency maps of a model."),
    },
    "cluster": {
        "cluster": Command("inat.cluster", "Check, await and show the nodes of a Ray cluster."),
    },
}
COMMANDS = {name: command for group in GROUPS.values() for name, command in group.items()}


def main() -> None:
    """Run the command that the first argument names; exits with code 2 if there is no such command."""
    guard(_main)


def _main() -> None:
    name, arguments = (sys.argv[1], sys.argv[2:]) if len(sys.argv) > 1 else ("", [])
    if name in ("-h", "--help"):
        print(help_text())
    elif name in COMMANDS:
        run(name, arguments)
    else:
        print(help_text() if not name else unknown(name), file=sys.stderr)
        sys.exit(2)


def run(name: str, arguments: list[str]) -> None:
    """Run one command as `python -m` runs its module."""
    command = COMMANDS[name]
    sys.argv = [name, *filter(None, [command.subcommand]), *arguments]
    started_as = "inat" if command.subcommand else f"inat {name}"
    runpy.run_module(command.module, init_globals={STARTED_AS: started_as}, run_name="__main__", alter_sys=True)


def help_text() -> str:
    """All commands with one line each."""
    lines = ["usage: inat COMMAND ...", "", "Hyperparameter search for image classifiers.", ""]
    for title, commands in GROUPS.items():
        lines += [f"{title}:", *(f"  {name:14}{command.line}" for name, command in commands.items()), ""]
    return "\n".join([*lines, "`inat COMMAND --help` shows the examples and options of a command."])


def unknown(name: str) -> str:
    """One line about a command that does not exist, with the closest name or where to find all names."""
    if name == "analysis":
        return "error: 'analysis' is no command of inat; its commands are, such as `inat report results/STUDY`"
    close = difflib.get_close_matches(name, COMMANDS, n=1)
    hint = f"did you mean {close[0]!r}?" if close else "`inat --help` lists all commands"
    return f"error: unknown command {name!r}; {hint}"


if __name__ == "__main__":
    main()
