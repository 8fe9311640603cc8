"""Fetch nature_12K, photographs of 10 classes (3.6 GB), and unpack it for the search.

    python -m inat.data.download                                   # into ./inaturalist_12K
    python -m inat.data.download --to /data/inaturalist_12K
    python -m inat.data.download --url https://host/other.zip --to other   # any zip with train/ and val/

Stopped at any moment, the same command goes on where it was. Until DIR is whole, everything is in .DIR.download beside.
"""

from inat.cli import run_command
from inat.data.download.command import DownloadCommand, download

if __name__ == "__main__":
    run_command(DownloadCommand, download, __doc__)
