"""Where timm publishes the weights of a model, and where this node may have them already.

timm's models are on the Hugging Face Hub, older ones at an address of their own. ``HF_HOME``, ``HF_ENDPOINT`` and
``HF_HUB_OFFLINE`` work as in timm.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import torch

from inat.config.timm_names import TIMM
from inat.errors import ConfigError

SAFETENSORS, PICKLED = "model.safetensors", "pytorch_model.bin"  # timm's names of the files on the Hub
ENDINGS = (".safetensors", ".pth", ".bin")


@dataclass(frozen=True, slots=True)
class TimmWeights:
    """The published weights of one model of timm: a repository of the Hub, or a file at ``url``."""

    name: str
    hub: str
    hub_files: tuple[str, ...]
    url: str

    @property
    def address(self) -> str:
        """The address to download from, for a message."""
        from huggingface_hub import hf_hub_url

        return hf_hub_url(self.hub, self.hub_files[0]) if self.hub else self.url

    @property
    def file_names(self) -> tuple[str, ...]:
        """Names that the file may have in a folder of the user."""
        names = dict.fromkeys((self.name, self.hub.rpartition("/")[2] or self.name))  # the second has the tag
        published = (self.url.rpartition("/")[2],) if self.url else ()
        return (*(f"{name}{ending}" for name in names for ending in ENDINGS), *published)

    def cached(self) -> Iterator[Path]:
        """Where the caches of the Hub and of torch.hub have the file, as far as they do."""
        from huggingface_hub import try_to_load_from_cache

        for file in self.hub_files if self.hub else ():
            if isinstance(found := try_to_load_from_cache(self.hub, file), str):
                yield Path(found)
        if self.url:
            yield Path(torch.hub.get_dir()) / "checkpoints" / self.url.rpartition("/")[2]

    @property
    def cache(self) -> Path:
        """The folder that a download goes to."""
        from huggingface_hub import constants

        return Path(constants.HF_HUB_CACHE) if self.hub else Path(torch.hub.get_dir()) / "checkpoints"

    def download(self) -> None:
        """Download the file into the cache of the Hub; raises whatever the network or the Hub raises."""
        from huggingface_hub import constants, hf_hub_download
        from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

        if constants.HF_HUB_OFFLINE:
            raise OSError("HF_HUB_OFFLINE is set")
        # The Hub's own client tries six times, which takes 23 s where there is no network.
        urlopen(Request(constants.ENDPOINT, method="HEAD")).close()
        for file in self.hub_files:
            try:
                hf_hub_download(self.hub, file)
                return
            except EntryNotFoundError as error:
                if isinstance(error, LocalEntryNotFoundError) or file == self.hub_files[-1]:
                    raise


def timm_weights(backbone: str) -> TimmWeights:
    """Where the weights of the backbone ``timm:NAME`` are published.

    Raises ConfigError if timm publishes none, or none that a state dict can hold.
    """
    from timm.models import get_pretrained_cfg

    name = backbone.removeprefix(TIMM)
    config: Any = get_pretrained_cfg(name)
    if config is None or not config.has_weights:
        raise ConfigError(f"timm publishes no weights of {name}; name a tag that has some, or pass --weights none")
    url = config.url or ""
    if config.custom_load and not url.endswith(ENDINGS):
        url = ""  # arrays of JAX, which need a loader of their own; the Hub has them as a state dict
    files = (config.hf_hub_filename,) if config.hf_hub_filename else (SAFETENSORS, PICKLED)
    if not config.hf_hub_id and not url:
        raise ConfigError(f"the weights of {name} are no state dict; name another tag, or pass --weights none")
    return TimmWeights(name, config.hf_hub_id or "", files, url)
