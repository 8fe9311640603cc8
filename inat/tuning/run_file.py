"""Write the options of a search as YAML: where the user asks for it, and into each study."""

from pathlib import Path

from analysis.terminal import PlainConsole
from inat.config.run_text import run_text
from inat.config.search import SearchConfig
from inat.config.validation import expanded
from inat.constants import RUN_YAML
from inat.errors import ConfigError
from inat.study.atomic_io import as_disk_full_error, atomic_write
from inat.study.study import Study


def save_options(config: SearchConfig, file: Path) -> None:
    """Write the options to the ``file`` of --save-config, and print what runs it; ConfigError if that is refused."""
    path = expanded(file)
    try:
        atomic_write(path, run_text(config))
    except OSError as error:
        raise ConfigError(f"cannot write {path} ({error.strerror or error}); choose another --save-config") from error
    PlainConsole().print(f"written {path}\nnext: inat tune-{config.KIND} --config {path}")


def keep_options(study: Study, config: SearchConfig) -> None:
    """Write the options that the user gave into a new study; its study.json has them with what follows from them."""
    with as_disk_full_error(study.directory):
        atomic_write(study.directory / RUN_YAML, run_text(config))
