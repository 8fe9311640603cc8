"""Look at photos before a search: counts, sizes, brightness, unreadable files, copies, groups, and a page of examples.

    python -m inat.data.inspect photos                       # text, and the page photos-data.html
    python -m inat.data.inspect photos --image-size 64       # at the image size of the search
    python -m inat.data.inspect photos --labels labels.csv   # classes from a table
    python -m inat.data.inspect digits --output digits.html

It decodes the photos at the image size, and a search uses the result; only the larger copies for augmentation are made
by the search. Exits with code 2 if these photos cannot be trained on, and says why.
"""

from inat.cli import run_command
from inat.data.inspect.options import InspectCommand


def main(command: InspectCommand) -> None:
    """Run the command; the libraries load only after the options have been checked."""
    from inat.data.inspect.command import inspect

    inspect(command)


if __name__ == "__main__":
    run_command(InspectCommand, main, description=__doc__)
