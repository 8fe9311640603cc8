"""Fetch nature_12K, photos of 10 classes (3.6 GB), and unpack it for the search.

    python -m inat.data.download                                   # into ./inaturalist_12K
    python -m inat.data.download --to /data/inaturalist_12K
    python -m inat.data.download --url https://host/other.zip --to other   # any zip with train/ and val/

If you stop it, the same command continues. Until DIR is complete, all files are in .DIR.download beside it.
"""

from inat.cli import run_command
from inat.data.download.command import DownloadCommand, download

if __name__ == "__main__":
    run_command(DownloadCommand, download, __doc__)
