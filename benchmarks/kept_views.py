"""Compare kept augmentation with fresh augmentation, and strengths of augmentation, for fine-tuning.

    python benchmarks/kept_views.py --data PHOTOS --weights-dir FOLDER_WITH_mobilenet_v2.pth

Each training is a call of ``fit`` in this process, with one core; the unit is the best validation accuracy. "kept N"
draws one of N stored views per image and epoch, "fresh" augments anew in every epoch (--views 0). "off" trains on the
images as they are, "light" is crops and flips, "published" is the whole augmentation. Seeds vary the head, the order of
the images and the draws; the views are the same for all seeds, as in a search. One line of JSON per training is
appended to --output, and trainings that it has are not repeated.
"""

import json
import statistics
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import tyro
from measure import hardware

STRENGTHS = {
    "off": {"use_augmentation": False},
    "light": {"use_augmentation": True, "light_augmentation": True},
    "published": {"use_augmentation": True},
}


@dataclass(frozen=True, kw_only=True)
class Options:
    """Train with each strength of augmentation, kept and fresh."""

    data: Path
    """Folder with train/<class>/* and val/<class>/*."""
    weights_dir: Path
    """Folder with mobilenet_v2.pth."""
    output: Path = Path("kept_views.jsonl")
    """File of the results."""
    cache_dir: Path = Path("cache")
    """Folder of decoded images and features."""
    image_size: int = 64
    epochs: int = 12
    seeds: int = 5
    learning_rate: float = 1e-3
    batch_size: int = 32
    views: tuple[int, ...] = (1, 2, 4, 8)
    """Numbers of kept views to compare."""
    k_layers: tuple[int, ...] = (0, 3)
    """0 is freeze_all, another number freeze_partial."""
    strengths: tuple[str, ...] = tuple(STRENGTHS)
    """Strengths of augmentation to compare."""
    kinds: tuple[str, ...] = ("kept", "fresh")
    """Kept features, or augmentation and frozen stages in every epoch."""


def cases(options: Options) -> Iterator[dict[str, Any]]:
    """Each training: kept before fresh, which takes much longer."""
    augmented = [strength for strength in options.strengths if strength != "off"]
    kept = [("off", 1)] * ("off" in options.strengths)
    kept += [(strength, views) for views in options.views for strength in augmented]
    fresh = [(strength, 0) for strength in augmented]
    chosen = kept * ("kept" in options.kinds) + fresh * ("fresh" in options.kinds)
    for strength, views in chosen:
        for seed in range(1, options.seeds + 1):
            for k in options.k_layers:
                yield {"k": k, "strength": strength, "views": views, "seed": seed}


def train(options: Options, case: dict[str, Any]) -> dict[str, Any]:
    """Best and last validation accuracy of one training, and its seconds."""
    from inat.config.trial import TrialConfig
    from inat.training.fit import fit

    params = {
        "backbone": "mobilenet_v2", "strategy": "freeze_partial" if case["k"] else "freeze_all",
        "k_layers": case["k"] or None, "views": case["views"], "weights_dir": str(options.weights_dir.resolve()),
        "data": str(options.data.resolve()), "cache_dir": str(options.cache_dir.resolve()), "precision": "32-true",
        "image_size": options.image_size, "learning_rate": options.learning_rate, "batch_size": options.batch_size,
        "max_epochs": options.epochs, "patience": options.epochs, "seed": case["seed"], **STRENGTHS[case["strength"]],
    }  # fmt: skip
    started = time.perf_counter()
    row = fit(TrialConfig.from_params(params))
    seconds = time.perf_counter() - started
    return case | {"best": row["best_val_acc"], "last": row["val_acc"], "seconds": round(seconds, 2)}


def table(results: list[dict[str, Any]]) -> str:
    """Mean and standard deviation over the seeds, one line per case."""
    groups: dict[tuple[int, str, int], list[dict[str, Any]]] = defaultdict(list)
    for result in results:
        groups[result["k"], result["strength"], result["views"]].append(result)
    lines = []
    for (k, strength, views), group in sorted(groups.items()):
        best = [result["best"] for result in group]
        spread = statistics.stdev(best) if len(best) > 1 else 0.0
        name = "freeze_all" if k == 0 else f"freeze_partial k={k}"
        mode = "fresh" if views == 0 else f"kept {views}"
        seconds = statistics.median(result["seconds"] for result in group)
        lines.append(
            f"{name:20} {strength:10} {mode:7} {statistics.mean(best):.4f} +- {spread:.4f} (n={len(best)}, "
            f"last epoch {statistics.mean(r['last'] for r in group):.4f}, {seconds:.1f} s)"
        )
    return "\n".join(lines)


def main() -> None:
    """Run the trainings that --output lacks, then print the table."""
    options = tyro.cli(Options)
    torch.set_num_threads(1)
    print(f"{hardware()}\n{options}")
    known = options.output.read_text().splitlines() if options.output.exists() else []
    results = [json.loads(line) for line in known]
    done = {(r["k"], r["strength"], r["views"], r["seed"]) for r in results}
    for case in cases(options):
        if tuple(case.values()) in done:
            continue
        results.append(train(options, case))
        with options.output.open("a") as file:
            file.write(json.dumps(results[-1]) + "\n")
    print(table(results))


if __name__ == "__main__":
    main()
