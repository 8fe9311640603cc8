"""The parts of benchmarks/gpu_accept.py: each yields checks and numbers."""

import dataclasses
import os
import re
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import gpu_epoch
from measure import CrashError, Numbers, measured

ROOT = Path(__file__).resolve().parent.parent
GPU_EPOCH = str(ROOT / "benchmarks/gpu_epoch.py")
SIDES: dict[str, dict[str, Any]] = {
    "smallest": {"first_layer_filters": 32, "filter_org": 0.5, "conv_layers": 3, "num_neurons_dense": 128},
    "largest": {"first_layer_filters": 128, "filter_org": 2, "conv_layers": 5, "num_neurons_dense": 512},
}
State = Literal["ok", "FAILED", "skipped"]
Part = Literal["right", "smallest", "largest", "search", "grid", "plan"]
PARTS: tuple[Part, ...] = ("right", "smallest", "largest", "search", "grid", "plan")


@dataclass(frozen=True, kw_only=True)
class Options:
    """Check and measure everything that needs a GPU."""

    device: Literal["cuda", "cpu"] = "cuda"
    smoke: bool = False
    """Use tiny sizes, to try this script."""
    parts: tuple[Part, ...] = PARTS
    photos: int = 3000
    """Number of random images to make."""
    minutes: float = 8
    """Parts that would start later than this are skipped."""

    @property
    def image_size(self) -> int:
        """Side of the images in pixels."""
        return 32 if self.smoke else 224


@dataclass(frozen=True, slots=True)
class Check:
    """The result of one check."""

    name: str
    state: State
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.state:8}{self.name}" + (f": {self.detail}" if self.detail else "")


def right(options: Options, folder: Path) -> Iterator[Check | Numbers]:
    """The tests that need a GPU; without one they are skipped."""
    report = folder / "tests.xml"
    command = ["-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider", f"--junit-xml={report}", "tests/gpu"]
    done = _run(command)
    if not report.exists():
        yield Check("tests", "FAILED", _last_line(done))
        return
    cases = list(ElementTree.parse(report).iter("testcase"))
    checks = list(map(_check_of, cases))
    yield from checks
    if not checks or (options.device == "cuda" and all(check.state == "skipped" for check in checks)):
        yield Check("tests", "FAILED", "no test has run")


def _check_of(case: ElementTree.Element) -> Check:
    """What JUnit's XML says about one test."""
    states: dict[str, State] = {"failure": "FAILED", "error": "FAILED", "skipped": "skipped"}
    for tag, state in states.items():
        if (found := case.find(tag)) is not None:
            return Check(case.get("name", ""), state, " ".join(found.get("message", "").split())[:160])
    return Check(case.get("name", ""), "ok")


def network(side: str) -> Callable[[Options, Path], Iterator[Check | Numbers]]:
    """The part that measures one end of the space."""

    def part(options: Options, folder: Path) -> Iterator[Check | Numbers]:
        timed = _epoch_options(options, folder, side)
        found: dict[str, Numbers] = {
            kind: measured(GPU_EPOCH, timed, only=kind, variants=(variant,))
            for kind, variant in (("prepare", "resident_augmented"), ("peak", "resident"), ("step", "resident"))
        }
        variants: tuple[gpu_epoch.Variant, ...] = ("resident", "resident_augmented")
        plain, augmented = (measured(GPU_EPOCH, timed, only="fit", variants=(variant,)) for variant in variants)
        peak, step = found["peak"], found["step"]
        yield {
            "peak_tflops": peak["peak_tflops"],
            f"train_{side}": plain["train"],
            f"bare_{side}": step["bare"],
            f"flops_{side}": 100 * plain["train"] * peak["gflops_image"] / 1e3 / peak["peak_tflops"],
            f"fit_{side}": 100 * plain["train"] / step["bare"],
            f"augmented_{side}": 100 * augmented["train"] / plain["train"],
            f"memory_{side}": plain["memory"],
        }
        for count in (2,) if options.smoke else (2, 4, 8):
            try:
                together = gpu_epoch.trials_at_once(timed, count)
            except CrashError as error:
                yield Check(f"{count} trainings at once, {side}", "FAILED", str(error).strip().splitlines()[-1])
                continue
            if together:  # else they do not fit into the memory
                yield {f"at_once_{count}_{side}": together[f"trials_{count}"]}

    return part


def _epoch_options(options: Options, folder: Path, side: str) -> gpu_epoch.Options:
    timed = gpu_epoch.Options(
        data=folder / "photos", cache_dir=folder / "cache", device=options.device, variants=("resident",),
        epochs=20 if side == "smallest" else 3, photos=options.photos,
    )  # fmt: skip
    timed = dataclasses.replace(timed.shrunk(), data=timed.data) if options.smoke else timed
    return dataclasses.replace(timed, **({} if options.smoke else SIDES[side]))


def search(options: Options, folder: Path) -> Iterator[Check | Numbers]:
    """A search from scratch through the command that users type."""
    size = (
        ["--num-samples", "2", "--max-epochs", "1"] if options.smoke else ["--num-samples", "24", "--max-epochs", "9"]
    )
    yield from _command("search", "tune_scratch.py", [*_shared(options, folder), *size])


def grid(options: Options, folder: Path) -> Iterator[Check | Numbers]:
    """A fine-tuning grid of one backbone's head."""
    name = "mobilenet_v2" if options.smoke else "resnet50"
    rates, epochs = (["1e-3"], "1") if options.smoke else (["3e-4", "1e-3", "3e-3"], "10")
    space = ["--backbones", name, "--strategies", "freeze_all", "--grid", "published", "--weights", "none"]
    lengths = ["--learning-rates", *rates, "--batch-sizes", "32", "64", "--max-epochs", epochs, "--patience", epochs]
    yield from _command("grid", "tune_finetune.py", [*_shared(options, folder), *space, *lengths])


def _shared(options: Options, folder: Path) -> list[str]:
    places = ["--cache-dir", str(folder / "cache"), "--storage-path", str(folder / "results")]
    return ["--data", str(folder / "photos"), "--image-size", str(options.image_size), *places]


def _command(name: str, script: str, arguments: list[str]) -> Iterator[Check | Numbers]:
    started = time.monotonic()
    done = _run([script, *arguments])
    seconds = time.monotonic() - started
    failed = re.search(r"([1-9]\d*) failed", done.stdout)
    if done.returncode or failed:
        yield Check(name, "FAILED", failed[0] if failed else _last_line(done))
        return
    yield Check(name, "ok", f"{seconds:.0f} s")
    yield {f"{name}_seconds": seconds}


def plan(options: Options, folder: Path) -> Iterator[Check | Numbers]:
    """Minutes of the large search, predicted from measured speeds."""
    # Loaded here: the other parts run in processes of their own.
    from inat.config.search import SearchConfig
    from inat.tuning.progress import progress_of
    from inat.tuning.ray_backend.slots import Slots
    from inat.tuning.scratch_plan import estimate_cost
    from inat.tuning.task import check_task

    config = SearchConfig(
        data=str(folder / "photos"), image_size=options.image_size, num_samples=480, cache_dir=folder / "cache",
        storage_path=folder / "results", name="plan",
    )  # fmt: skip
    task = check_task(config)
    cost = estimate_cost(task, task.load(), progress_of(task))
    cost = dataclasses.replace(cost, train=8000, val=2000, slots=Slots(1, cost.slots.cpus, 1))
    yield {
        "plan_minutes": cost.seconds(cost.expected_epochs) / 60,
        "plan_epochs": cost.expected_epochs,
        "plan_cheapest_epoch_seconds": min(cost.epoch_seconds),
        "plan_dearest_epoch_seconds": max(cost.epoch_seconds),
    }


RUN: dict[Part, Callable[[Options, Path], Iterator[Check | Numbers]]] = {
    "right": right,
    "smallest": network("smallest"),
    "largest": network("largest"),
    "search": search,
    "grid": grid,
    "plan": plan,
}


def results(part: Part, options: Options, folder: Path) -> Iterator[Check | Numbers]:
    """Run one part; a measurement that fails becomes a check that failed, so that the other parts run."""
    try:
        yield from RUN[part](options, folder)
    except SystemExit as error:  # with the output of the process that measured
        lines = str(error.code).strip().splitlines()
        yield Check(part, "FAILED", lines[-1] if lines else "")
    except Exception as error:  # the other parts, and the result line, are worth more than a traceback
        yield Check(part, "FAILED", f"{type(error).__name__}: {' '.join(str(error).split())[:160]}")


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.run(
        [sys.executable, *command], cwd=ROOT, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": path},
    )  # fmt: skip


def _last_line(done: subprocess.CompletedProcess[str]) -> str:
    lines = (done.stderr + done.stdout).strip().splitlines()
    return lines[-1] if lines else f"exit code {done.returncode}"
