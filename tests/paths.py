"""Folders that tests start from."""

from pathlib import Path

ROOT = Path(__file__).parent.parent
