"""Compare the images per second of inat's prediction with a hand-written loop.

    python benchmarks/predict.py --data PHOTOS --scratch results/STUDY --finetuned results/OTHER

Each model predicts the test images of PHOTOS. The sides alternate, each measurement in a fresh process:

"inat" is inat.training.inference.predict_images, which inat predict calls: decoding in threads, batch
size and precision of the training. "plain" predicts one image at a time: PIL, torchvision's Resize, ToTensor and
Normalize, the network in float32 under inference_mode. Both are timed with the model loaded, after one batch to warm
up, and read the same files from the page cache. "ratio" is inat / plain; "same" is the percentage of images to which
both assign the same class.
"""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
import tyro
from measure import Numbers, alternate, hardware, measured, print_report, ratios
from PIL import Image
from torchvision import transforms

from inat.constants import IMAGENET_MEAN, IMAGENET_STD, VAL
from inat.data.image_folder import list_images
from inat.training.inference import Model, open_model, predict_images
from inat.training.memory import keep_freed_memory

Kind = Literal["inat", "plain"]
Classes = list[int]


@dataclass(frozen=True, kw_only=True)
class Options:
    """Measure predictions."""

    data: Path
    """Folder with val/<class>/*."""
    scratch: Path | None = None
    """Model of a search from scratch."""
    finetuned: Path | None = None
    """Model of a fine-tuned backbone."""
    rounds: int = 3
    only: Kind | None = None
    """Run one measurement of the given model and print its numbers."""


def predict_with_inat(model: Model, paths: list[str]) -> Classes:
    """Classes predicted by inat; -1 for an unreadable image."""
    found = (prediction.confidences for prediction in predict_images(model, paths))
    return [-1 if row is None else int(row.argmax()) for row in found]


def predict_one_by_one(model: Model, paths: list[str]) -> Classes:
    """Classes predicted by the hand-written loop, one image at a time."""
    size, net, classes = model.image_size, model.checkpoint.classifier.to(memory_format=torch.contiguous_format), []
    steps = transforms.Compose([
        transforms.Resize((size, size)), transforms.ToTensor(), transforms.Normalize(IMAGENET_MEAN, IMAGENET_STD),
    ])  # fmt: skip
    with torch.inference_mode():
        for path in paths:
            image = steps(Image.open(path).convert("RGB")).unsqueeze(0).to(model.device)
            classes.append(int(net(image).softmax(1).argmax()))
    return classes


PREDICT: dict[Kind, Callable[[Model, list[str]], Classes]] = {"inat": predict_with_inat, "plain": predict_one_by_one}


def once(options: Options, kind: Kind) -> dict[str, Any]:
    """Images per second and the predicted classes."""
    path = options.scratch or options.finetuned
    assert path is not None
    if kind == "inat":
        keep_freed_memory()
    folder, model = options.data / VAL, open_model(path)
    paths = [str(folder / path) for path in list_images(folder)]
    PREDICT[kind](model, paths[: model.batch_size])
    started = time.perf_counter()
    classes = PREDICT[kind](model, paths)
    return {"rate": len(paths) / (time.perf_counter() - started), "classes": classes}


def agreement(options: Options) -> Numbers:
    """The percentage of images to which both sides assign the same class."""
    one, other = (once(options, kind)["classes"] for kind in PREDICT)
    return {"same": 100 * sum(a == b for a, b in zip(one, other, strict=True)) / len(one)}


def main() -> None:
    """Alternate the measurements, print a table, then the result line."""
    options = tyro.cli(Options)
    if options.only:
        print(json.dumps({options.only: once(options, options.only)["rate"]}))
        return
    print(f"{hardware()}\n{options}")
    parts: dict[str, list[float]] = {}
    models = {name: path for name in ("scratch", "finetuned") if (path := getattr(options, name))}
    for name in models:
        changes = {other: None for other in models if other != name}
        variants = [(f"_{name}", {"only": kind, **changes}) for kind in PREDICT]
        measured(__file__, options, only="plain", **changes)  # fills the page cache
        parts |= alternate(__file__, options, options.rounds, variants)
        parts[f"ratio_{name}"] = ratios(parts[f"inat_{name}"], parts[f"plain_{name}"])
        one = Options(data=options.data, **{name: models[name]})
        parts[f"same_{name}"] = [agreement(one)["same"]]
    print_report(parts)


if __name__ == "__main__":
    main()
