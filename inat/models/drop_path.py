"""Set the share of the images that skip residual blocks (stochastic depth, https://arxiv.org/abs/1603.09382)."""

from torch import nn
from torchvision.ops import StochasticDepth

from inat.models.stages import StagedNetwork

PREFIX = "drop_path"  # timm's blocks have an attribute of this name, an identity where nothing is dropped


def drop_path_places(network: nn.Module) -> list[tuple[nn.Module, str]]:
    """The modules that can drop a residual branch, each as its parent and its name there, from the first on.

    They are torchvision's StochasticDepth, timm's DropPath, and the identities that timm puts in its place.
    """
    return [
        (parent, name)
        for parent in network.modules()
        for name, child in parent.named_children()
        if isinstance(child, StochasticDepth) or name.startswith(PREFIX)
    ]


def set_drop_path(network: StagedNetwork, share: float) -> int:
    """Drop branches with a share that rises linearly to ``share`` at the last place; return the number of places set.

    Frozen stages count, but are not changed: other trials share them.
    """
    frozen, trained = (list(network)[: network.frozen], list(network)[network.frozen :])
    before = network.places_before + sum(len(drop_path_places(stage)) for stage in frozen)
    places = [place for stage in trained for place in drop_path_places(stage)]
    last = max(1, before + len(places) - 1)
    for number, (parent, name) in enumerate(places, start=before):
        setattr(parent, name, StochasticDepth(share * number / last, "row").train(parent.training))
    return len(places)
