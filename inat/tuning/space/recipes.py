"""The part of the space for fine-tuning that says how trials are trained, beside backbone, strategy and rates."""

from typing import Any

from ray import tune

from inat.config.backbones import WHOLE
from inat.config.finetune import BODY_LR_FACTOR, MODERN, FinetuneConfig
from inat.config.optim import ADAMW, COSINE
from inat.config.trial import LIGHT, TRIVIAL


def finetune_augmentations(config: FinetuneConfig) -> dict[str, Any]:
    """The augmentations that --augmentation names, or those that the recipe tries."""
    chosen: str = config.augmentation
    if chosen == "auto" and config.recipe == MODERN:
        if config.searcher != "grid":
            return {
                "use_augmentation": tune.choice([False, True]),
                "augmentation_policy": tune.choice([LIGHT, TRIVIAL]),
            }
        chosen = LIGHT
    used = {"off": [False], "on": [True], "both": [False, True], "auto": [False, True]}
    if chosen in used:
        return {"use_augmentation": tune.choice(used[chosen])}
    return {"use_augmentation": tune.choice([True]), "augmentation_policy": tune.choice([chosen])}


def modern_recipe(config: FinetuneConfig) -> dict[str, Any]:
    """Optimizer, schedule and regularisation: values to choose from for a sampler, one value each for a grid.

    Mixup and CutMix are there only if all strategies train the whole network: with them, frozen stages cannot run once
    per image.
    """
    fixed = {"optimizer": tune.choice([ADAMW]), "schedule": tune.choice([COSINE])}
    if config.searcher == "grid":
        values = {"warmup_share": 0.1, "weight_decay": 0.05}
        if config.body_lr_factor is None:
            values["body_lr_factor"] = BODY_LR_FACTOR
        return fixed | {name: tune.choice([value]) for name, value in values.items()}
    space = fixed | {
        "warmup_share": tune.choice([0.05, 0.1, 0.2]),
        "weight_decay": tune.loguniform(1e-3, 0.3),
        "layer_decay": tune.uniform(0.65, 1.0),
        "label_smoothing": tune.choice([0.0, 0.1]),
        "drop_path": tune.choice([0.0, 0.1, 0.2]),
        "ema_decay": tune.choice([0.0, 0.99]),
        "grad_clip": tune.choice([0.0, 1.0]),
    }
    if config.body_lr_factor is None:
        space["body_lr_factor"] = tune.loguniform(0.1, 1.0)
    if set(config.strategies) <= set(WHOLE):
        space |= {"mixup_alpha": tune.choice([0.0, 0.2]), "cutmix_alpha": tune.choice([0.0, 1.0])}
    return space
