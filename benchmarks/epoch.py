"""An epoch of the classic pipeline, of ours, and of a bare PyTorch loop over tensors in memory.

    python benchmarks/epoch.py --data PHOTOS --image-size 64

The same photographs, network and batch size, without and with augmentation, alternating, each measurement in a fresh
process: one epoch to warm up, then the timed ones, each of training and validation. "classic" is what tutorials show
(benchmarks/classic.py); "ours" is inat.training.fit; "bare" is the least a step can be with our arithmetic: bfloat16
where the processor has it, channels last, fused Adam, kept memory, images already normalised in memory (with
augmentation: the larger uint8 images, augmented by the same function), no Lightning and no metrics but accuracy.
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro
from measure import hardware, in_fresh_process, ratios, result_line, spread

Kind = Literal["classic", "ours", "bare"]
KINDS: tuple[Kind, ...] = ("classic", "ours", "bare")


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
    """Timed epochs of a measurement."""
    cache_dir: Path = Path.home() / ".cache" / "inat"
    augment: bool = False
    """With --only: augment."""
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


def classic(options: Options) -> float:
    """Images per second of the tutorials' pipeline."""
    import classic as pipeline

    from inat.config import TrialConfig
    from inat.models.cnn import build_cnn

    config = TrialConfig.from_params(options.params())
    parts = pipeline.loaders(options.data, options.image_size, options.batch_size, options.augment)
    classes = len(parts[0].dataset.dataset.classes)  # type: ignore[attr-defined]
    net = build_cnn(config.model, options.image_size, classes)
    with tempfile.TemporaryDirectory() as folder:
        seconds = pipeline.train(net, classes, config.optim.learning_rate, parts, config.max_epochs, folder)
    lengths = [len(part.sampler) for part in parts]  # type: ignore[arg-type]
    return sum(lengths) / statistics.mean(seconds)


def ours(options: Options) -> float:
    """Images per second of inat.training.fit."""
    from classic import EpochClock

    from inat.config import TrialConfig
    from inat.data.splits import load_splits
    from inat.training import fit

    config = TrialConfig.from_params(options.params())
    clock = EpochClock()
    fit(config, [clock])
    splits = load_splits(config.data)
    return (len(splits.train) + len(splits.val)) / statistics.mean(clock.seconds)


def bare(options: Options) -> float:
    """Images per second of a loop over tensors in memory."""
    import torch

    from inat.allocator import keep_freed_memory
    from inat.config import TrialConfig
    from inat.data.augment import augment, normalise, scale_to_one
    from inat.data.splits import load_splits
    from inat.models.cnn import build_cnn
    from inat.training import resolve_precision

    keep_freed_memory()
    config = TrialConfig.from_params(options.params())
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    splits = load_splits(config.data)
    net = build_cnn(config.model, options.image_size, len(splits.classes))
    net = net.to(device).to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(net.parameters(), config.optim.learning_rate, fused=True)
    dtype = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}.get(resolve_precision("auto"))

    def ready(images: torch.Tensor) -> torch.Tensor:
        return normalise(scale_to_one(images.permute(0, 3, 1, 2)))

    train, val = splits.train, splits.val
    labels, val_labels = (torch.from_numpy(s.labels[s.rows]).to(device) for s in (train, val))
    val_images = ready(torch.from_numpy(val.images[val.rows]).to(device))
    if train.crops is None:
        images = ready(torch.from_numpy(train.images[train.rows]).to(device))
    else:
        images = torch.from_numpy(train.crops.images[train.rows]).permute(0, 3, 1, 2).to(device)
        aspects = torch.from_numpy(train.crops.aspects[train.rows]).to(device)

    def one_epoch() -> None:
        net.train()
        for rows in torch.randperm(len(labels), device=device).split(options.batch_size):
            batch = images[rows] if train.crops is None else images.index_select(0, rows)
            if train.crops is not None:
                batch = normalise(augment(batch, aspects[rows], options.image_size))
            batch = batch.contiguous(memory_format=torch.channels_last)
            with torch.autocast(device.type, dtype, enabled=dtype is not None):
                loss = torch.nn.functional.cross_entropy(net(batch), labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        net.eval()
        with torch.inference_mode(), torch.autocast(device.type, dtype, enabled=dtype is not None):
            parts = zip(val_images.split(options.batch_size), val_labels.split(options.batch_size), strict=True)
            int(sum((net(x).argmax(1) == y).sum() for x, y in parts))

    one_epoch()
    started = time.perf_counter()
    for _ in range(options.epochs):
        one_epoch()
    return (len(labels) + len(val_labels)) * options.epochs / (time.perf_counter() - started)


MEASUREMENTS: dict[Kind, Callable[[Options], float]] = {"classic": classic, "ours": ours, "bare": bare}


def measure(options: Options, kind: Kind, augment: bool) -> float:
    """One measurement in a process of its own."""
    given = {"data": options.data.resolve(), "cache-dir": options.cache_dir, "epochs": options.epochs}
    names = ("image_size", "batch_size", "first_layer_filters", "filter_org", "conv_layers", "activation",
             "num_neurons_dense")  # fmt: skip
    given |= {name.replace("_", "-"): getattr(options, name) for name in names}
    arguments = [part for name, value in given.items() for part in (f"--{name}", str(value))]
    return float(in_fresh_process(__file__, *arguments, "--only", kind, *(["--augment"] if augment else [])))


def main() -> None:
    """Alternate the three and print a table, then the result line."""
    options = tyro.cli(Options)
    if options.only:
        print(MEASUREMENTS[options.only](options))
        return
    parts: dict[str, list[float]] = {}
    print(f"{hardware()}\n{options}")
    for suffix in ("", "_augmented"):
        speed: dict[Kind, list[float]] = {kind: [] for kind in KINDS}
        measure(options, "ours", bool(suffix))  # decodes the photographs, and reads them all into the page cache
        for number in range(options.rounds):
            for kind, values in speed.items():
                values.append(measure(options, kind, bool(suffix)))
                print(f"round {number + 1} {kind}{suffix}: {values[-1]:.1f} images/s", flush=True)
        parts |= {f"{kind}{suffix}": values for kind, values in speed.items()}
        parts[f"ratio{suffix}"] = ratios(speed["ours"], speed["classic"])
        parts[f"of_bare{suffix}"] = ratios(speed["ours"], speed["bare"])
    for name, values in parts.items():
        print(f"{name:20} {spread(values)}")
    print(result_line(parts))


if __name__ == "__main__":
    main()
