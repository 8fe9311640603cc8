"""How a race of backbones spends its time: the presets of `tune_finetune.py --preset`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

# What a preset tries if --backbones names none, without those that the options do not fit.
CANDIDATES: Final = (
    "mobilenet_v2", "googlenet", "resnet50", "efficientnet_v2_s", "inception_v3", "vit_b_16", "vgg16",
)  # fmt: skip
# Networks of timm that a preset also tries, from small to large: fast ones that were trained long, then ConvNeXt and
# ViT after training on 12 or 22 thousand classes. All weights may be used commercially (Apache-2.0 or MIT).
SMALL_TIMM: Final = ("timm:mobilenetv4_conv_small.e2400_r224_in1k", "timm:tf_efficientnet_lite0.in1k")
MEDIUM_TIMM: Final = (
    "timm:convnext_nano.in12k_ft_in1k", "timm:vit_small_patch16_224.augreg_in21k_ft_in1k",
    "timm:convnext_tiny.in12k_ft_in1k",
)  # fmt: skip
LARGE_TIMM: Final = (
    "timm:eva02_small_patch14_336.mim_in22k_ft_in1k", "timm:convnext_small.in12k_ft_in1k",
    "timm:vit_base_patch16_clip_224.openai_ft_in12k_in1k",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class RacePreset:
    """The time budget of a preset if --time-budget gives none, and how it is spent.

    ``probe_share``, ``partial_share`` and ``full_share`` are the shares of the budget for probing all backbones, for
    frozen and partly frozen trials of the ``partial`` best probes, and for whole trials of the ``full`` best of them.
    What a step leaves over is shared by the steps after it; the last are trials of the best backbone that the sampler
    suggests. ``timm`` are networks that are tried beside CANDIDATES if their weights are at hand.
    """

    time_budget: str
    max_epochs: int
    num_samples: int
    probe_share: float = 0.3
    partial_share: float = 0.25
    full_share: float = 0.25
    partial: int
    full: int
    timm: tuple[str, ...] = ()

    def partial_of(self, left: float) -> float:
        """The part for frozen and partly frozen trials of the seconds that are left after the probes."""
        return left * self.partial_share / (1 - self.probe_share)

    def full_of(self, left: float) -> float:
        """The part for whole networks of the seconds that are left after the frozen trials."""
        return left * self.full_share / (1 - self.probe_share - self.partial_share)


RACES: Final[Mapping[str, RacePreset]] = {
    "fast": RacePreset(time_budget="10m", max_epochs=10, num_samples=20, partial=2, full=1, timm=SMALL_TIMM),
    "good": RacePreset(
        time_budget="1h", max_epochs=20, num_samples=60, partial=3, full=2, timm=(*SMALL_TIMM, *MEDIUM_TIMM)
    ),
    "best": RacePreset(
        time_budget="8h",
        max_epochs=30,
        num_samples=200,
        partial=5,
        full=3,
        timm=(*SMALL_TIMM, *MEDIUM_TIMM, *LARGE_TIMM),
    ),
}
