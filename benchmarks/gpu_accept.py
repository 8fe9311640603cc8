"""Prove on a machine with a GPU that trainings are right there, and measure that the GPU limits them.

    python benchmarks/gpu_accept.py                            # about 8 minutes on an H100 or H200
    python benchmarks/gpu_accept.py --device cpu --smoke       # every part in tiny sizes, without a GPU

Prints one line per check, "ok", "FAILED" or "skipped", one line per aim, "met" or "missed", then the result line; ends
with exit code 1 if a check fails. A missed aim is no failure. The parts, in this order:

"right": the tests with the marker ``gpu`` (tests/gpu), which need pytest.
"smallest", "largest": the two ends of the published space at 224 px, from benchmarks/gpu_epoch.py. "train_*" and
"bare_*": images per second of a training and of a plain loop; "flops_*": training as a percentage of the measured
bfloat16 peak; "fit_*": the epoch of a training as a percentage of the plain loop; "augmented_*": training with
augmentation as a percentage of training without; "at_once_N_*": images per second of N trainings together.
"search": seconds of a search of 24 trials of up to 9 epochs, with Ray, from files to the end.
"grid": seconds of a grid of 12 trials of 10 epochs with the head of a ResNet-50 of random weights.
"plan": minutes of 480 trials with 8,000 photos to train on and 2,000 to validate on, from the measured speed of 7
networks of the space and the trials that ASHA can be expected to stop, with one trial at a time.
"""

import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import gpu_epoch
import tyro
from gpu_parts import Check, Options, results
from measure import Numbers, hardware

# (name in the result line, least or greatest value, what it is)
AT_LEAST = (
    ("flops_largest", 35, "% of the measured bfloat16 peak in the largest network"),
    ("train_smallest", 25_000, "images/s in the smallest network"),
    ("at_once_4_smallest", 60_000, "images/s in 4 smallest networks at once"),
    ("augmented_smallest", 70, "% of the plain speed with augmentation, smallest network"),
    ("augmented_largest", 70, "% of the plain speed with augmentation, largest network"),
    ("fit_smallest", 90, "% of the plain loop's speed, smallest network"),
    ("fit_largest", 90, "% of the plain loop's speed, largest network"),
)
PLAN_MINUTES = 30


def aims(found: Numbers) -> Iterator[str]:
    """One line per aim whose value was measured."""
    for name, least, meaning in AT_LEAST:
        if name in found:
            state = "met" if found[name] >= least else "missed"
            yield f"{state:8}{name}: {found[name]:,.4g}, aim at least {least:,} {meaning}"
    if "plan_minutes" in found:
        state = "met" if found["plan_minutes"] <= PLAN_MINUTES else "missed"
        yield f"{state:8}plan: {found['plan_minutes']:.3g} minutes for 480 trials, aim at most {PLAN_MINUTES}"


def verdict(checks: int, failed: int, skipped: int) -> str:
    """What the checks say together, in a sentence.

    >>> verdict(20, 0, 18)
    'no check of 20 failed; 18 were skipped, see above for the reason'
    """
    first = f"{failed or 'no'} check{'s' if failed > 1 else ''} of {checks} failed"
    return f"{first}; {skipped} were skipped, see above for the reason" if skipped else first


def main() -> None:
    """Make images, run the parts, print a line per check and aim, then the result line."""
    options = tyro.cli(Options)
    if options.device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    started, found, checks = time.monotonic(), Numbers(), []
    print(f"{hardware()}\n{options}", flush=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        gpu_epoch.make_images(folder / "photos", 120 if options.smoke else options.photos)
        for part in options.parts:
            if time.monotonic() - started > 60 * options.minutes:
                print(Check(part, "skipped", f"{options.minutes:g} minutes are over; see --minutes"), flush=True)
                continue
            for result in results(part, options, folder):
                if isinstance(result, Check):
                    checks.append(result)
                    print(result, flush=True)
                else:
                    found |= result
                    print(" " * 8 + " ".join(f"{key}={value:.4g}" for key, value in result.items()), flush=True)
    if not options.smoke:
        print(*aims(found), sep="\n")
    failed = sum(check.state == "FAILED" for check in checks)
    counts = {"checks": len(checks), "failed": failed, "skipped": sum(check.state == "skipped" for check in checks)}
    print(verdict(**counts))
    print("result:", *(f"{name}={value:.4g}" for name, value in {**counts, **found}.items()))
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
