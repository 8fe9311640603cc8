"""Time an epoch of the tutorial pipeline, of inat, and of a plain PyTorch loop over tensors in memory.

    python benchmarks/epoch.py --data PHOTOS --image-size 64

All use the same images, network and batch size, without and with augmentation. They alternate, each measurement in a
fresh process: one epoch to warm up, then timed epochs of training and validation. "classic" is the tutorial pipeline
(benchmarks/classic.py), "inat" is inat.training.fit, "bare" is the plain loop (benchmarks/bare.py), the lower
bound for inat's precision and memory layout.
"""

import statistics
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro
from measure import as_arguments, hardware, in_fresh_process, print_report, ratios

from inat.constants import CACHE_DIR

Kind = Literal["classic", "inat", "bare"]
KINDS: tuple[Kind, ...] = ("classic", "inat", "bare")


@dataclass(frozen=True, kw_only=True)
class Options:
    """Measure epochs side by side."""

    data: Path
    """Folder with train/<class>/* and val/<class>/*."""
    image_size: int = 64
    batch_size: int = 64
    first_layer_filters: int = 32
    filter_org: float = 1
    conv_layers: int = 3
    activation: str = "relu"
    num_neurons_dense: int = 128
    rounds: int = 3
    epochs: int = 1
    """Timed epochs per measurement."""
    cache_dir: Path = CACHE_DIR
    augment: bool = False
    """With --only: train with augmentation."""
    only: Kind | None = None
    """Run one measurement and print its images per second."""

    def params(self) -> dict[str, object]:
        """The flat configuration of the training."""
        names = ("image_size", "batch_size", "first_layer_filters", "filter_org", "conv_layers", "activation",
                 "num_neurons_dense")  # fmt: skip
        fixed = {"dropout": 0.2, "batch_norm": True, "learning_rate": 1e-3, "max_epochs": 1 + self.epochs,
                 "data": str(self.data), "cache_dir": str(self.cache_dir),
                 "use_augmentation": self.augment}  # fmt: skip
        return {name: getattr(self, name) for name in names} | fixed


def classic_epoch(options: Options) -> float:
    """Images per second of the tutorial pipeline."""
    import classic as pipeline

    from inat.config.cnn import CNNConfig
    from inat.config.trial import TrialConfig

    config = TrialConfig.from_params(options.params())
    assert isinstance(config.model, CNNConfig)
    parts = pipeline.loaders(options.data, options.image_size, options.batch_size, options.augment)
    classes = len(parts[0].dataset.dataset.classes)  # type: ignore[attr-defined]
    net = pipeline.network(config.model, options.image_size, classes)
    with tempfile.TemporaryDirectory() as folder:
        seconds = pipeline.train(net, classes, config.optim.learning_rate, parts, config.max_epochs, folder)
    lengths = [len(part.sampler) for part in parts]  # type: ignore[arg-type]
    return sum(lengths) / statistics.mean(seconds)


def inat_epoch(options: Options) -> float:
    """Images per second of inat."""
    from classic import EpochClock

    from inat.config.trial import TrialConfig
    from inat.data.splits import load_splits
    from inat.training.fit import fit

    config = TrialConfig.from_params(options.params())
    clock = EpochClock()
    fit(config, [clock])
    splits = load_splits(config.data)
    return (len(splits.train) + len(splits.val)) / statistics.mean(clock.seconds)


def bare_epoch(options: Options) -> float:
    """Images per second of the plain loop."""
    from bare import BareLoop

    from inat.config.trial import TrialConfig

    return BareLoop(TrialConfig.from_params(options.params())).images_per_second(options.epochs)


MEASUREMENTS: dict[Kind, Callable[[Options], float]] = {
    "classic": classic_epoch,
    "inat": inat_epoch,
    "bare": bare_epoch,
}


def measure(options: Options, kind: Kind, augment: bool) -> float:
    """Run one measurement in a fresh process; returns images per second."""
    arguments = as_arguments(options, data=options.data.resolve(), only=kind, augment=augment)
    return float(in_fresh_process(__file__, *arguments))


def main() -> None:
    """Alternate the three sides, print a table, then the result line."""
    options = tyro.cli(Options)
    if options.only:
        print(MEASUREMENTS[options.only](options))
        return
    parts: dict[str, list[float]] = {}
    print(f"{hardware()}\n{options}")
    for suffix in ("", "_augmented"):
        speed: dict[Kind, list[float]] = {kind: [] for kind in KINDS}
        measure(options, "inat", bool(suffix))  # decodes the images and fills the page cache
        for number in range(options.rounds):
            for kind, values in speed.items():
                values.append(measure(options, kind, bool(suffix)))
                print(f"round {number + 1} {kind}{suffix}: {values[-1]:.1f} images/s", flush=True)
        parts |= {f"{kind}{suffix}": values for kind, values in speed.items()}
        parts[f"ratio{suffix}"] = ratios(speed["inat"], speed["classic"])
        parts[f"of_bare{suffix}"] = ratios(speed["inat"], speed["bare"])
    print_report(parts)


if __name__ == "__main__":
    main()
