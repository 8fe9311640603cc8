"""How long a report takes to open in Chromium, and how large it is.

    python benchmarks/report_opening.py                    # 480 trials, 5 rounds
    python benchmarks/report_opening.py --trials 2000

Writes the study of a search with ASHA and made-up values, builds its report, and opens the file --rounds times in a new
browser of 1300 x 900 pixels, without a GPU. Seconds since the page was asked for:
  paint_s    until the first text or picture is there
  view_s     until the interactive charts that are in view are drawn, and the parallel coordinates
  all_s      until all charts are drawn; those out of view are drawn while the browser has nothing else to do
  task_s     the longest piece of work during which the page answers nobody
With "_at_once", in turn with these, the same page draws all charts as soon as it can.
Needs Chromium (on PATH, or named by the variable CHROMIUM) and playwright.
"""

import os
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro
from load_study import configs, epochs_of
from measure import Numbers, hardware, print_report

FLAGS = ["--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--no-sandbox"]  # WebGL without a GPU
CONFIG = {"max_epochs": 27, "grace_period": 3, "reduction_factor": 3, "patience": 27}
WATCH_TASKS = """
window.tasks = [];
new PerformanceObserver((list) => window.tasks.push(...list.getEntries().map((task) => task.duration)))
  .observe({ type: "longtask", buffered: true });
"""
DRAW_AT_ONCE = "window.requestIdleCallback = (action) => { action(); return 0; };"
READ = """() => {
  const at = (kind, name) => performance.getEntriesByType(kind).find((entry) => entry.name === name).startTime / 1000;
  return {
    paint_s: at("paint", "first-contentful-paint"), view_s: at("mark", "charts in view"),
    all_s: at("mark", "all charts"), task_s: Math.max(0, ...window.tasks) / 1000,
  };
}"""


@dataclass(frozen=True, kw_only=True)
class Options:
    """Measure how a report opens."""

    trials: int = 480
    rounds: int = 5


def main() -> None:
    """Build the report, open it, and print the seconds."""
    options = tyro.cli(Options)
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        sys.exit("error: no chromium on PATH; install it, or set CHROMIUM to a browser")
    print(f"{hardware()}\n{options}")
    with tempfile.TemporaryDirectory() as folder:
        page = write_report(Path(folder), options.trials)
        print(f"{page.stat().st_size / 1e6:.2f} MB, of {options.trials} trials")
        rounds = [opened(page, chromium, "") | opened(page, chromium, "_at_once") for _ in range(options.rounds)]
        found = {name: [numbers[name] for numbers in rounds] for name in rounds[0]}
        print_report(found | {"size_mb": [page.stat().st_size / 1e6]})


def write_report(folder: Path, trials: int) -> Path:
    """The report of a study in which two thirds of the trials stop at each rung."""
    from analysis.report.build import build
    from analysis.report.write import write
    from analysis.study import load_study
    from inat.study.study import Study

    study = Study.create(folder / "study", {"config": CONFIG | {"num_samples": trials}})
    for number, params in enumerate(configs(trials)):
        trial = study.add_trial(params)
        epochs = 27 if number % 9 == 0 else 9 if number % 3 == 0 else 3
        for row in epochs_of(number, epochs):
            study.add_epoch(trial.trial_id, row | {"trainable_parameters": 1_000_000}, "node")
        study.end_trial(trial.trial_id, "completed" if epochs == 27 else "stopped")
    study.close()
    return write(build(load_study(study.directory), study.directory), study.directory)[0]


def opened(page: Path, chromium: str, suffix: str) -> Numbers:
    """Open the page in a new browser, until all of its charts are drawn; ``suffix`` says which way."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        tab = browser.new_page(viewport={"width": 1300, "height": 900})
        tab.add_init_script(WATCH_TASKS + (DRAW_AT_ONCE if suffix else ""))
        tab.goto(f"file://{page}")
        tab.wait_for_selector("html[data-drawn]", timeout=120_000)
        measured: dict[str, Any] = tab.evaluate(READ)
        browser.close()
    numbers = {f"{name}{suffix}": value for name, value in measured.items()}
    print(*(f"{name}={value:.2f}" for name, value in numbers.items()), flush=True)
    return numbers


if __name__ == "__main__":
    main()
