"""The time that an exported model takes for a single image on this machine."""

import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inat.machine import usable_cores

WARM_UP, RUNS = 10, 200  # the first runs allocate memory
MOST_SECONDS = 5.0  # of all runs; a large network on a slow machine has fewer of them, at least FEWEST
FEWEST = 10


def onnx_latency(path: Path, image: NDArray[np.uint8]) -> dict[str, Any]:
    """The "latency" section of metrics.json: milliseconds of ONNX Runtime for one image (1, 3, S, S) on the CPU.

    Other programs on the machine make it longer, so the median and the quartiles are given.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    threads = options.intra_op_num_threads = usable_cores()
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    milliseconds = measured(lambda: session.run(["probabilities"], {"images": image}))
    low, median, high = np.percentile(milliseconds, [25, 50, 75])
    return {
        "file": path.name, "runtime": f"onnxruntime {onnxruntime.__version__}", "batch": 1, "runs": len(milliseconds),
        "median_ms": float(f"{median:.4g}"), "quartiles_ms": [float(f"{low:.4g}"), float(f"{high:.4g}")],
        "threads": threads, "processor": processor_name(),
    }  # fmt: skip


def measured(run: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> list[float]:
    """The milliseconds of up to RUNS calls after WARM_UP ones that do not count."""
    began = clock()
    for done in range(WARM_UP):
        if done and clock() - began > MOST_SECONDS / 2:
            break
        run()
    found: list[float] = []
    began = clock()
    while len(found) < FEWEST or (len(found) < RUNS and clock() - began < MOST_SECONDS):
        before = clock()
        run()
        found.append(1e3 * (clock() - before))
    return found


def processor_name() -> str:
    """The processor's name as the system has it, such as "AMD EPYC 7B13"; its kind, such as "x86_64", elsewhere."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "") or platform.processor() or platform.machine()


def describe_latency(latency: dict[str, Any]) -> str:
    """The latency in words.

    >>> describe_latency({"file": "model.onnx", "runtime": "onnxruntime 1.24.0", "median_ms": 0.5, "runs": 200,
    ...                   "quartiles_ms": [0.4, 0.7], "threads": 2, "processor": "AMD EPYC", "batch": 1})
    '0.5 ms per image (half of 200 runs: 0.4 to 0.7), one image at a time, onnxruntime 1.24.0, 2 threads of AMD EPYC'
    """
    low, high = latency["quartiles_ms"]
    threads = "1 thread" if latency["threads"] == 1 else f"{latency['threads']} threads"
    return (
        f"{latency['median_ms']:g} ms per image (half of {latency['runs']} runs: {low:g} to {high:g}), one image at a "
        f"time, {latency['runtime']}, {threads} of {latency['processor']}"
    )
