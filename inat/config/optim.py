"""How a network is trained: optimizer, schedule, regularisation; a frozen dataclass that checks itself."""

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

SCHEDULES = (STEP, COSINE, TRAPEZOID) = ("step", "cosine", "trapezoid")
OPTIMIZERS = (AUTO, ADAMW, SGD, MUON) = ("auto", "adamw", "sgd", "muon")
EMA_STATISTICS = (MEASURED, AVERAGED) = ("measured", "averaged")
CLASS_WEIGHTS = (NO_WEIGHTS, BALANCED, EFFECTIVE) = ("none", "balanced", "effective")


@dataclass(frozen=True, kw_only=True, slots=True)
class OptimConfig:
    """How a network is trained. The defaults are those published for nature_12K: Adam with a step schedule.

    ``optimizer`` "auto" is Adam, and AdamW with a ``weight_decay`` above 0. "adamw" and "sgd" (Nesterov momentum 0.9)
    also spare the class token, the positions and the layer scales of vision transformers from the decay, which "auto"
    decays as earlier versions did. "muon" makes the steps of the matrices of hidden layers orthogonal, and trains all
    other parameters with AdamW, at a tenth of the learning rate and without decay.

    ``schedule`` "step" multiplies the learning rate by ``lr_gamma`` every ``lr_step_epochs`` epochs. "cosine" raises it
    over the first ``warmup_share`` of the steps of ``max_epochs`` and lowers it to 0 over the others. "trapezoid" also
    raises it, then keeps it, and lowers it linearly to 0 over the last ``decay_share`` of the steps. A stage that is n
    stages before the head learns at ``layer_decay`` to the power n times the learning rate.

    Each step has ``batch_size`` times ``accumulate`` images, of which ``batch_size`` go through the network at a time.
    ``grad_clip`` is the largest norm of the gradient. With ``grad_checkpointing``, stages compute their activations
    again for the backward pass, which takes less memory and gives the same result. ``mixup_alpha`` and
    ``cutmix_alpha`` are parameters of Beta distributions, ``random_erasing`` is the share of the images that lose a
    rectangle. ``drop_path`` is the share of the images that skip the last residual block, falling to 0 at the first
    one; None leaves the published value, and networks without residual blocks that can be skipped ignore it.
    ``ema_decay`` is the decay of the moving average of the weights, which is then validated and saved in place of the
    weights. 0 means off. The statistics of its batch norms are "measured" with the averaged weights on the last
    training images of each epoch, or "averaged" as the weights are. With ``test_time_flip``, predictions and
    evaluations after the training average the probabilities of an image and its mirror image; the validation during the
    training does not.

    ``class_weights`` are the weights of the classes in the training loss: inverse to the number of their images
    ("balanced") or to the effective number ("effective"). With ``balanced_sampler``, an epoch draws as many images as
    without it, the same number from each class.
    """

    learning_rate: float
    batch_size: int
    optimizer: str = AUTO
    lr_step_epochs: int = 10
    lr_gamma: float = 0.1
    schedule: str = STEP
    warmup_share: float = 0.1
    decay_share: float = 0.4
    layer_decay: float = 1.0
    weight_decay: float = 0.0
    grad_clip: float = 0.0
    accumulate: int = 1
    grad_checkpointing: bool = False
    label_smoothing: float = 0.0
    mixup_alpha: float = 0.0
    cutmix_alpha: float = 0.0
    random_erasing: float = 0.0
    drop_path: float | None = None
    ema_decay: float = 0.0
    ema_statistics: str = MEASURED
    test_time_flip: bool = False
    class_weights: str = NO_WEIGHTS
    balanced_sampler: bool = False

    def __post_init__(self) -> None:
        positive = ("learning_rate", "batch_size", "lr_step_epochs", "lr_gamma", "layer_decay", "accumulate")
        problems = type_errors(self) + positive_errors(self, *positive)
        problems += non_negative_errors(self, "weight_decay", "mixup_alpha", "cutmix_alpha", "grad_clip")
        for name in ("warmup_share", "decay_share", "label_smoothing", "random_erasing", "ema_decay"):
            problems += range_errors(self, name, 0, 1)
        if self.drop_path is not None:
            problems += range_errors(self, "drop_path", 0, 1)
        if has_type(self, "layer_decay") and self.layer_decay > 1:
            problems.append(f"layer_decay must be at most 1, got {self.layer_decay}")
        problems += choice_errors(self, "schedule", SCHEDULES) + choice_errors(self, "class_weights", CLASS_WEIGHTS)
        problems += choice_errors(self, "optimizer", OPTIMIZERS)
        problems += choice_errors(self, "ema_statistics", EMA_STATISTICS)
        raise_if_any(problems)

    @property
    def step_images(self) -> int:
        """Images of each optimizer step."""
        return self.batch_size * self.accumulate
