"""Time a whole search of inat against the same search as the documentation of Ray Tune and Lightning teaches it.

    python benchmarks/end_to_end.py --data PHOTOS                                 # 24 trials of up to 9 epochs
    python benchmarks/end_to_end.py --data PHOTOS --trials 6 --max-epochs 3       # minutes

Both sides train the same configurations, drawn once from the search space with --seed, with the same settings of ASHA.
They alternate, each in a fresh process; the unit is seconds, from before the libraries are imported to the last result:
"plain" is benchmarks/plain_search.py: LightningModule, ImageFolder, 2 loading processes per trial, float32,
TuneReportCheckpointCallback, OptunaSearch, ASHA, a new process per trial.
"inat" is inat's search from an empty cache, decoding included; patience ends no trial.
ASHA decides in the order in which trials arrive, so the sides may train different numbers of epochs. "ratio" is the
quotient of the seconds per trained epoch, "ratio_wall" that of the seconds, and "ratio_cpu" that of the processor
seconds per trained epoch, which means something on a busy machine, too. With a --grace-period of --max-epochs, ASHA
stops no trial, and both sides do the same work.
"""

import json
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import tyro
from measure import alternate, hardware, print_report, ratios
from processor_time import ProcessorTime

Kind = Literal["plain", "inat"]
FACTOR = 3  # ASHA keeps the best third


@dataclass(frozen=True, kw_only=True)
class Options:
    """Measure the searches side by side."""

    data: Path
    """Folder with train/<class>/* and val/<class>/*."""
    trials: int = 24
    """Configurations that both sides train."""
    max_epochs: int = 9
    grace_period: int | None = None
    """Epochs before ASHA may stop a trial. Default: 3, or fewer if --max-epochs is smaller."""
    image_size: int = 64
    space: str = "full"
    """The search space, as tune_scratch.py takes it; both sides can train the spaces full and small."""
    seed: int = 0
    """Seed of the configurations."""
    rounds: int = 3
    only: Kind | None = None
    """Run one measurement and print it as JSON."""

    @property
    def grace(self) -> int:
        """The grace period of both sides."""
        return min(3, self.max_epochs) if self.grace_period is None else self.grace_period


def search_config(options: Options, **changes: Any) -> Any:
    """The options of inat's search."""
    from inat.config.search import SearchConfig

    return SearchConfig(
        data=str(options.data.resolve()), image_size=options.image_size, space=options.space, seed=options.seed,
        num_samples=options.trials, max_epochs=options.max_epochs, patience=options.max_epochs,
        grace_period=options.grace, reduction_factor=FACTOR, **changes,
    )  # fmt: skip


def draw_points(options: Options, space: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Configurations drawn from the space at random, each once."""
    import optuna

    from inat.tuning.space.domains import optuna_space

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=options.seed))
    distributions = optuna_space(space)
    points: dict[str, dict[str, Any]] = {}
    while len(points) < options.trials:
        params = study.ask(distributions).params
        points[json.dumps(params)] = params
    return list(points.values())


def plain_search(options: Options) -> dict[str, float]:
    """Seconds and trained epochs of the documented search."""
    started = time.monotonic()
    import plain_search as peer

    from inat.tuning.space.presets import space_of

    space = space_of(search_config(options))
    rungs = (options.max_epochs, options.grace, FACTOR)
    with tempfile.TemporaryDirectory() as folder:
        epochs = peer.search(
            space, draw_points(options, space), options.data.resolve(), options.image_size, rungs, Path(folder)
        )
    return {"plain": time.monotonic() - started, "plain_epochs": sum(epochs)}


def inat_search(options: Options) -> dict[str, float]:
    """Seconds and trained epochs of inat's search from an empty cache."""
    started = time.monotonic()
    from inat.tuning import search
    from inat.tuning.space.presets import space_of

    with tempfile.TemporaryDirectory() as folder:
        points = draw_points(options, space_of(search_config(options)))
        start_from = Path(folder) / "points.json"
        start_from.write_text(json.dumps(points), encoding="utf-8")
        config = search_config(
            options, start_from=start_from, cache_dir=Path(folder) / "cache", storage_path=Path(folder), name="study"
        )
        study, space = search.open_study(config)
        search.run(config, study, space)
        study.close()
        trained = list(study.trials.values())
    assert [trial.params for trial in trained] == points
    assert not any(trial.error for trial in trained), [trial.error for trial in trained]
    return {"inat": time.monotonic() - started, "inat_epochs": sum(trial.epochs for trial in trained)}


MEASUREMENTS: dict[Kind, Callable[[Options], dict[str, float]]] = {"plain": plain_search, "inat": inat_search}


def main() -> None:
    """Alternate the two sides, print a table, then the result line."""
    options = tyro.cli(Options)
    if options.only:
        with ProcessorTime() as processor:
            found = MEASUREMENTS[options.only](options)
        print(json.dumps(found | {f"{options.only}_cpu": processor.seconds}))
        return
    print(f"{hardware()}\n{options}")
    parts = alternate(__file__, options, options.rounds, [("", {"only": kind}) for kind in MEASUREMENTS])
    parts["ratio_wall"] = ratios(parts["plain"], parts["inat"])
    epochs = ratios(parts["plain_epochs"], parts["inat_epochs"])
    parts["ratio"] = ratios(parts["ratio_wall"], epochs)
    parts["ratio_cpu"] = ratios(ratios(parts["plain_cpu"], parts["inat_cpu"]), epochs)
    print_report(parts)


if __name__ == "__main__":
    main()
