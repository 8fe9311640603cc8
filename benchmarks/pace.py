"""What a training with a time limit loses when the machine turns out slower or faster than planned.

    python benchmarks/pace.py --data PHOTOS --image-size 64 --keep pace.jsonl

A training of the recipe is planned for --epochs epochs of one unit of time each. From epoch --after on, an epoch takes
--factors units instead: above 1, other programs have started; below 1, they have ended. Sides:
"planned": the schedule of the plan. It is cut off when the time is over, or ends before.
"paced": the schedule follows the time, as in the last training of --time-budget; at most 1.5 times --epochs.
"known": as many epochs as "paced" has, with a schedule that knew it from the start.

The time is simulated, so the results do not depend on this machine. Accuracies are those of the best epoch on the
validation photos, means over --seeds, and the difference of "paced" and "planned" has Student's interval over the
seeds. The test split is not looked at. Each training runs in a fresh process; with --keep FILE, finished trainings are
kept in FILE, and the same command continues an interrupted benchmark.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from kept_rows import KeptRows
from measure import hardware, measured
from one_training import used_threads
from recipe_here import Images, recipe_params

from inat.constants import CACHE_DIR
from inat.tuning.budget.rules import LONGER

SIDES = ("planned", "paced", "known")


@dataclass(frozen=True, kw_only=True)
class Options:
    """Compare schedules that follow the time with those that do not."""

    data: Path
    """Folder with train/<class>/* and val/<class>/*."""
    image_size: int = 64
    epochs: int = 12
    factors: tuple[float, ...] = (2.0, 0.5)
    """How many times as long an epoch takes after --after epochs."""
    after: int = 3
    seeds: int = 3
    threads: int = 1
    cache_dir: Path = CACHE_DIR
    keep: Path | None = None
    """JSON lines file of finished trainings, which are not repeated."""
    only: str | None = None
    """Run one training, given as a JSON object, and print its numbers."""


def main() -> None:
    """Run the trainings that --keep lacks, then print the table and the result line."""
    options = tyro.cli(Options)
    if options.only:
        print(json.dumps(run(options, json.loads(options.only))))
        return
    print(f"{hardware()}, {used_threads(options.threads)}\n{options}")
    images, kept, fields = Images(options.data, options.image_size, options.cache_dir), KeptRows(options.keep), []
    recipe = recipe_params(images, options.epochs)
    for factor in options.factors:
        found: dict[str, list[dict[str, Any]]] = {side: [] for side in SIDES}
        for seed in range(1, options.seeds + 1):
            for side in SIDES:
                epochs = found["paced"][-1]["epochs"] if side == "known" else options.epochs
                case = {"data": str(options.data.resolve()), "image_size": options.image_size, "side": side,
                        "epochs": epochs, "after": options.after, "factor": factor, "seed": seed,
                        "params": recipe}  # fmt: skip
                row = kept.get_or_run(case, lambda case=case: _fresh(options, case))  # type: ignore[misc]
                found[side].append(dict(row))
                print(f"factor {factor:g} seed {seed} {side:7}: {row['val']:.4f} in {row['epochs']} epochs", flush=True)
        fields += table(factor, found)
    print("result:", *fields)


def _fresh(options: Options, case: Mapping[str, Any]) -> dict[str, Any]:
    return measured(__file__, options, only=json.dumps(case), keep=None)


def run(options: Options, case: Mapping[str, Any]) -> dict[str, Any]:
    """Train once in this process, with the simulated time of ``case``."""
    import pytorch_lightning as pl
    import torch

    from inat.config.trial import TrialConfig
    from inat.training.epoch_recorder import recorder_of
    from inat.training.fit import fit
    from inat.training.pace import Pace

    paced, time_left = case["side"] == "paced", case["side"] != "known"
    most = math.ceil(LONGER * case["epochs"]) if paced else case["epochs"]
    now, curve = [0.0], list[float]()

    class Simulated(pl.Callback):
        """Lets an epoch take its units before it ends, and cuts the training off when the time is over."""

        def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
            now[0] += case["factor"] if trainer.current_epoch >= case["after"] else 1.0

        def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
            curve.append(recorder_of(trainer).row["val_acc"])
            if time_left and now[0] + case["factor"] > case["epochs"] + 1e-9:
                trainer.should_stop = True

    torch.set_num_threads(options.threads)
    settings = Images(options.data, options.image_size, options.cache_dir).settings
    params = {**settings, **case["params"], "seed": case["seed"], "max_epochs": most, "patience": most}
    # Time passes in units, so an epoch that fits exactly needs no margin.
    pace = Pace(1.05 * case["epochs"] + 0.01, 1.0, most, lambda: now[0]) if paced else None
    fit(TrialConfig.from_params(params), [Simulated()], pace=pace)
    return {"val": max(curve), "last": curve[-1], "epochs": len(curve), "curve": curve, "units": now[0]}


def table(factor: float, found: Mapping[str, list[dict[str, Any]]]) -> list[str]:
    """Print the means of each side and the gain of "paced"; returns the fields of the result line."""
    from scipy import stats

    values = {side: np.array([row["val"] for row in rows]) for side, rows in found.items()}
    for side, rows in found.items():
        print(f"factor {factor:g} {side:7}: mean {values[side].mean():.4f}, {rows[0]['epochs']} epochs")
    gain = 100 * (values["paced"] - values["planned"])
    interval = stats.ttest_1samp(gain, 0.0).confidence_interval() if len(gain) > 1 else (math.nan, math.nan)
    print(f"factor {factor:g}: paced - planned {gain.mean():+.1f} points ({interval[0]:+.1f} to {interval[1]:+.1f})")
    name = f"f{factor:g}"
    means = [f"{name}_{side}={value.mean():.4f}" for side, value in values.items()]
    return [
        *means,
        f"{name}_gain={gain.mean():+.2f}",
        f"{name}_low={interval[0]:+.2f}",
        f"{name}_high={interval[1]:+.2f}",
    ]


if __name__ == "__main__":
    main()
