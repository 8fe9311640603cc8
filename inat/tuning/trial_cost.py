"""The cost of one trial of fine-tuning, from the measured costs of the stages of its backbone."""

from dataclasses import dataclass, replace

import torch

from inat.models.feature_layout import smaller_forms
from inat.tuning.backbone_timing import NetworkCost
from inat.tuning.kept_features import form_in_words


@dataclass(frozen=True, slots=True)
class ImageCounts:
    """Number of images that a trial trains on and validates on."""

    train: int
    val: int


@dataclass(frozen=True, slots=True)
class TrialCost:
    """Cost of the trials that share features; all times in seconds.

    ``feature_bytes`` and ``feature_seconds``, the time to compute them, are spent once for all of these trials.
    ``seconds`` is the time of one trial that nothing stops, ``seconds_without_features`` that of a trial which sends
    every image through the whole network in every epoch. ``trainable`` counts parameters. ``form`` says how features
    are made smaller, "" if they are not.
    """

    trainable: int
    feature_bytes: int
    feature_seconds: float
    seconds: float
    seconds_without_features: float
    form: str = ""


def fitting_cost(
    network: NetworkCost,
    frozen: int,
    images: ImageCounts,
    epochs: int,
    views: int,
    max_feature_bytes: float,
    *,
    shared: bool = False,
    altering: float = 0.0,
) -> TrialCost:
    """Estimate the cost as ``trial_cost`` does, with features in the best form that fits ``max_feature_bytes``.

    The share ``altering`` of the trials alters images and keeps no features.
    """
    network = network.chosen(frozen, views > 0)
    whole = trial_cost(network, frozen, images, epochs, 0, 0)
    if frozen == 0 or views == 0 or altering == 1:
        return whole
    computed = network.stages[frozen - 1].dtype
    for fewer, dtype in smaller_forms(views, computed):
        share = getattr(torch, dtype).itemsize / getattr(torch, computed).itemsize
        cost = trial_cost(network, frozen, images, epochs, fewer, max_feature_bytes, shared=shared, stored_share=share)
        if cost.feature_bytes:
            seconds = (1 - altering) * cost.seconds + altering * whole.seconds
            return replace(cost, seconds=seconds, form=form_in_words(views, fewer, share < 1))
    return whole


def trial_cost(
    network: NetworkCost,
    frozen: int,
    images: ImageCounts,
    epochs: int,
    views: int,
    max_feature_bytes: float,
    *,
    shared: bool = False,
    stored_share: float = 1.0,
) -> TrialCost:
    """Estimate the cost with the first ``frozen`` stages frozen and ``views`` copies of each training image stored.

    No features are stored for 0 views, nor if they would exceed ``max_feature_bytes``. If folds have ``shared`` ones,
    each view has those of all images, and so has the validation split. ``stored_share`` of the bytes of computed
    features are stored. The time to read and augment images is not included.
    """
    stages = network.stages
    prefix = sum(stage.seconds for stage in stages[:frozen])
    suffix = sum(stage.seconds for stage in stages[frozen:])
    training = epochs * (network.step_factor * images.train + images.val) * suffix
    without_features = training + epochs * (images.train + images.val) * prefix
    trainable = sum(stage.parameters for stage in stages[frozen:])
    forward_passes = views * images.train + images.val
    if shared:  # one view may be of the images as they are, which validation uses, too
        forward_passes = (views + 1 if views > 1 else 1) * (images.train + images.val)
    feature_bytes = round(forward_passes * stages[frozen - 1].bytes * stored_share) if frozen else 0
    if frozen == 0 or views == 0 or feature_bytes > max_feature_bytes:
        return TrialCost(trainable, 0, 0.0, without_features, without_features)
    return TrialCost(trainable, feature_bytes, forward_passes * prefix, training, without_features)
