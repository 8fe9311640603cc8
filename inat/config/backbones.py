"""The pretrained backbones and the ways to freeze them, as far as a search must know them before torch loads.

`inat/models/backbones.py` has the rest of each backbone: its weights, and the function that splits it into stages.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from inat.config.validation import (
    choice_errors,
    has_type,
    non_negative_errors,
    positive_errors,
    raise_if_any,
    range_errors,
    type_errors,
)


@dataclass(frozen=True, slots=True)
class BackboneFacts:
    """Facts about a network of torchvision, which a test compares with the network itself."""

    image_size: int
    """Side in pixels of the images that the published accuracy was measured on."""
    stages: int
    """Number of stages before the head; freeze_partial trains the last ``k_layers`` of them."""
    min_size: int = 1
    """Smallest side in pixels of the images that it takes."""
    multiple: int = 1
    """The side has to be a multiple of this: the patches of a vision transformer."""

    def fits(self, image_size: int | None, k_layers: Sequence[int], step: int = 1) -> bool:
        """Whether the network takes images of ``image_size`` and has all these numbers of stages.

        Without an image size its own one counts, which has to be a multiple of ``step``, as the data may demand.
        """
        size = self.image_size if image_size is None else image_size
        if size < self.min_size or size % self.multiple or (image_size is None and size % step):
            return False
        return all(k <= self.stages for k in k_layers)


BACKBONE_FACTS = {
    "googlenet": BackboneFacts(image_size=224, stages=10, min_size=15),
    "inception_v3": BackboneFacts(image_size=299, stages=12, min_size=75),
    "resnet50": BackboneFacts(image_size=224, stages=5),
    "vgg16": BackboneFacts(image_size=224, stages=7, min_size=32),
    "efficientnet_v2_s": BackboneFacts(image_size=384, stages=8, min_size=33),
    "vit_b_16": BackboneFacts(image_size=224, stages=13, min_size=16, multiple=16),
    "mobilenet_v2": BackboneFacts(image_size=224, stages=19),
}
BACKBONE_NAMES = tuple(BACKBONE_FACTS)
FULL_STRATEGIES = (FREEZE_ALL, FREEZE_PARTIAL, UNFREEZE_ALL) = ("freeze_all", "freeze_partial", "unfreeze_all")
FEW = (LORA, BITFIT, NORM_ONLY) = ("lora", "bitfit", "norm_only")  # they train few parameters of every stage
LP_FT = "lp_ft"
STRATEGIES = (*FULL_STRATEGIES, LP_FT, *FEW)
WHOLE = (UNFREEZE_ALL, LP_FT, *FEW)  # no stage is frozen as a whole
# Which strategies body_lr_factor is about: unfreeze_all, as in studies of version 0.2, or all of them.
BODY_LR_RULES = (ONLY_UNFREEZE_ALL, EVERY_STRATEGY) = (UNFREEZE_ALL, "all")
IMAGENET, NO_WEIGHTS = "imagenet", "none"


@dataclass(frozen=True, kw_only=True, slots=True)
class BackboneConfig:
    """A network of torchvision: its weights, which of its stages train, and how the others' features are cached.

    ``freeze_all`` trains the head, ``freeze_partial`` also the last ``k_layers`` stages before the head, and
    ``unfreeze_all`` all stages. ``lp_ft`` trains the head for the share ``probe_share`` of the epochs, then all stages.
    ``lora`` trains the head and updates of ``lora_rank`` of the dense layers and the 1x1 convolutions before it,
    ``bitfit`` the head and the biases, ``norm_only`` the head and the norms. Stages before the head learn at
    ``body_lr_factor`` times the learning rate of the head; with the ``body_lr_rule`` "unfreeze_all", those of
    freeze_partial learn at the rate of the head.

    With augmentation, the frozen stages compute features of ``views`` augmented copies of each training image once, and
    each epoch takes one copy at random. Nothing is cached if ``views`` is 0 or if the features are larger than
    ``max_feature_gb``; the frozen stages then run in every epoch.
    """

    backbone: str
    strategy: str
    k_layers: int | None = None
    weights: str = IMAGENET
    weights_dir: str = ""
    body_lr_factor: float = 0.1
    body_lr_rule: str = ONLY_UNFREEZE_ALL
    probe_share: float = 0.25
    lora_rank: int = 8
    views: int = 4
    max_feature_gb: float = 20.0
    weights_sha256: str = ""  # of the study's weights; checked unless it is empty

    def __post_init__(self) -> None:
        problems = type_errors(self) + positive_errors(self, "body_lr_factor", "lora_rank")
        problems += range_errors(self, "probe_share", 0, 1)
        problems += choice_errors(self, "body_lr_rule", BODY_LR_RULES)
        problems += non_negative_errors(self, "views", "max_feature_gb")
        problems += choice_errors(self, "backbone", BACKBONE_NAMES) + choice_errors(self, "strategy", STRATEGIES)
        problems += choice_errors(self, "weights", (IMAGENET, NO_WEIGHTS))
        raise_if_any(problems + self._impossible_k_layers())

    @property
    def body_rate(self) -> float:
        """The learning rate of the stages before the head, as a multiple of that of the head."""
        whole_rate = self.strategy == FREEZE_PARTIAL and self.body_lr_rule == ONLY_UNFREEZE_ALL
        return 1.0 if whole_rate or self.strategy == FREEZE_ALL else self.body_lr_factor

    def _impossible_k_layers(self) -> list[str]:
        known = has_type(self, "k_layers") and self.backbone in BACKBONE_NAMES
        if self.strategy != FREEZE_PARTIAL or not known:
            return []
        stages = BACKBONE_FACTS[self.backbone].stages
        if self.k_layers and 1 <= self.k_layers <= stages:
            return []
        return [f"k_layers must be in 1..{stages} for {FREEZE_PARTIAL} of {self.backbone}, got {self.k_layers}"]
