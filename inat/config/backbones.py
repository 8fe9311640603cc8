"""The pretrained backbones and the ways to freeze them, as far as a search must know them before torch loads.

`inat/models/published_backbones.py` has the rest of each: its weights, and the function that splits it into stages.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from inat.config.timm_names import is_timm, timm_errors, timm_settings
from inat.config.validation import (
    choice_errors,
    has_type,
    non_negative_errors,
    positive_errors,
    raise_if_any,
    range_errors,
    type_errors,
)
from inat.constants import BICUBIC, BILINEAR, CROP


@dataclass(frozen=True, slots=True)
class BackboneFacts:
    """Facts about a network: of torchvision's, which a test compares with the network itself, or of timm's."""

    image_size: int
    """Side in pixels of the images that the published accuracy was measured on."""
    stages: int | None
    """Number of stages before the head; freeze_partial trains the last ``k_layers`` of them. None for timm's models,
    which have to be built to count them: the checks before a search do so."""
    min_size: int = 1
    """Smallest side in pixels of the images that it takes."""
    multiple: int = 1
    """The side has to be a multiple of this: the patches of a vision transformer."""
    resize_size: int = 0
    """Shorter side in pixels that images had in the published evaluation, before their centre was cut out; 0: the same
    as ``image_size``."""
    interpolation: str = BILINEAR

    def preprocessing(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """The settings of the data for which the weights were published, as far as ``params`` leave them open.

        At another image size, the published share of the image is kept.
        """
        size = params.get("image_size", self.image_size)
        settings: dict[str, Any] = {"image_size": size, "interpolation": self.interpolation}
        if params.get("resize") == CROP and type(size) is int:
            settings["resize_size"] = size * (self.resize_size or self.image_size) // self.image_size
        return settings

    def fits(self, image_size: int | None, k_layers: Sequence[int], step: int = 1) -> bool:
        """Whether the network takes images of ``image_size`` and has all these numbers of stages.

        Without an image size its own one counts, which has to be a multiple of ``step``, as the data may demand.
        """
        size = self.image_size if image_size is None else image_size
        if size < self.min_size or size % self.multiple or (image_size is None and size % step):
            return False
        return self.stages is None or all(k <= self.stages for k in k_layers)


BACKBONE_FACTS = {
    "googlenet": BackboneFacts(image_size=224, resize_size=256, stages=10, min_size=15),
    "inception_v3": BackboneFacts(image_size=299, resize_size=342, stages=12, min_size=75),
    "resnet50": BackboneFacts(image_size=224, resize_size=232, stages=5),
    "vgg16": BackboneFacts(image_size=224, resize_size=256, stages=7, min_size=32),
    "efficientnet_v2_s": BackboneFacts(image_size=384, resize_size=384, stages=8, min_size=33),
    "vit_b_16": BackboneFacts(image_size=224, resize_size=256, stages=13, min_size=16, multiple=16),
    "mobilenet_v2": BackboneFacts(image_size=224, resize_size=232, stages=19),
}
BACKBONE_NAMES = tuple(BACKBONE_FACTS)  # of torchvision
FULL_STRATEGIES = (FREEZE_ALL, FREEZE_PARTIAL, UNFREEZE_ALL) = ("freeze_all", "freeze_partial", "unfreeze_all")
FEW = (LORA, BITFIT, NORM_ONLY) = ("lora", "bitfit", "norm_only")  # they train few parameters of every stage
LP_FT = "lp_ft"
STRATEGIES = (*FULL_STRATEGIES, LP_FT, *FEW)
WHOLE = (UNFREEZE_ALL, LP_FT, *FEW)  # no stage is frozen as a whole
# Which strategies body_lr_factor is about: unfreeze_all, as in studies of version 0.2, or all of them.
BODY_LR_RULES = (ONLY_UNFREEZE_ALL, EVERY_STRATEGY) = (UNFREEZE_ALL, "all")
POOLS_KEEP_LAYOUT = 3  # the ``feature_rules`` from which on gradients of average pools have the layout of the features
IMAGENET, NO_WEIGHTS = "imagenet", "none"


def is_backbone(name: Any) -> bool:
    """Whether ``name``, a value of any type, is the name of a backbone of torchvision or of timm.

    >>> is_backbone("resnet50"), is_backbone("resnet"), is_backbone(["resnet50"])
    (True, False, False)
    """
    return isinstance(name, str) and (name in BACKBONE_NAMES or (is_timm(name) and not timm_errors(name)))


def unknown_backbone_errors(name: str) -> list[str]:
    """The message about a name that is not of torchvision and does not begin with ``timm:``."""
    known = ", ".join(BACKBONE_NAMES)
    return [f"unknown backbone {name!r}; choose from {known}, or from timm's models: `inat backbones --search WORD`"]


def backbone_facts(name: str) -> BackboneFacts:
    """The facts about a backbone of torchvision, or of timm if the name has the form ``timm:NAME``.

    >>> backbone_facts("resnet50").stages
    5
    >>> backbone_facts("timm:tf_efficientnet_lite0").image_size
    224
    """
    if not is_timm(name):
        return BACKBONE_FACTS[name]
    settings = timm_settings(name)
    size = settings.input_size[-1]
    return BackboneFacts(
        image_size=size,
        stages=None,
        min_size=(settings.min_input_size or (1,))[-1],
        resize_size=max(size, int(size / settings.crop_pct)),
        interpolation=BILINEAR if settings.interpolation == BILINEAR else BICUBIC,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class BackboneConfig:
    """A network of torchvision or timm: its weights, which stages of it train, how the features of the others are kept.

    ``freeze_all`` trains the head, ``freeze_partial`` also the last ``k_layers`` stages before the head, and
    ``unfreeze_all`` all stages. ``lp_ft`` trains the head for the share ``probe_share`` of the epochs, then all stages.
    ``lora`` trains the head and updates of ``lora_rank`` of the dense layers and the 1x1 convolutions before it,
    ``bitfit`` the head and the biases, ``norm_only`` the head and the norms. Stages before the head learn at
    ``body_lr_factor`` times the learning rate of the head; with the ``body_lr_rule`` "unfreeze_all", those of
    freeze_partial learn at the rate of the head.

    With augmentation, the frozen stages compute features of ``views`` augmented copies of each training image once, and
    each epoch takes one copy at random. Nothing is cached if ``views`` is 0 or if the features are larger than
    ``max_feature_gb``; the frozen stages then run in every epoch.

    With ``feature_rules`` 2, features that are too large are kept in 16 bit, then in fewer views, before they are not
    kept, and mixup of a training of the head mixes features. With 3, the gradients of average pools also keep the
    layout of the features, which is faster and rounds in another order. Studies of earlier versions have 1.
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
    max_cache_gb: float = 0.0  # of all cached features; 0: as the disk allows
    feature_rules: int = 1
    weights_sha256: str = ""  # of the study's weights; checked unless it is empty

    def __post_init__(self) -> None:
        problems = type_errors(self) + positive_errors(self, "body_lr_factor", "lora_rank")
        problems += range_errors(self, "probe_share", 0, 1)
        problems += choice_errors(self, "body_lr_rule", BODY_LR_RULES)
        problems += non_negative_errors(self, "views", "max_feature_gb", "max_cache_gb")
        problems += self._unknown_backbone() + choice_errors(self, "strategy", STRATEGIES)
        problems += choice_errors(self, "weights", (IMAGENET, NO_WEIGHTS))
        raise_if_any(problems + self._impossible_k_layers())

    @property
    def body_rate(self) -> float:
        """The learning rate of the stages before the head, as a multiple of that of the head."""
        whole_rate = self.strategy == FREEZE_PARTIAL and self.body_lr_rule == ONLY_UNFREEZE_ALL
        return 1.0 if whole_rate or self.strategy == FREEZE_ALL else self.body_lr_factor

    def _unknown_backbone(self) -> list[str]:
        if not has_type(self, "backbone") or self.backbone in BACKBONE_NAMES:
            return []
        return [*timm_errors(self.backbone)] if is_timm(self.backbone) else unknown_backbone_errors(self.backbone)

    def _impossible_k_layers(self) -> list[str]:
        if self.strategy != FREEZE_PARTIAL or not has_type(self, "k_layers") or not is_backbone(self.backbone):
            return []
        stages = backbone_facts(self.backbone).stages
        if self.k_layers and self.k_layers >= 1 and (stages is None or self.k_layers <= stages):
            return []
        if stages is None:
            return [f"k_layers must be at least 1 for {FREEZE_PARTIAL} of {self.backbone}, got {self.k_layers}"]
        return [f"k_layers must be in 1..{stages} for {FREEZE_PARTIAL} of {self.backbone}, got {self.k_layers}"]
