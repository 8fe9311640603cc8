"""What both search commands do; torch and Ray load only after the options are known to be right."""

import sys
import time

from inat.cli import check_interpreter, guard, options_in_messages, parse_search, run_file_of
from inat.config.finetune import FinetuneConfig
from inat.config.resume import typed_options
from inat.config.search import SearchConfig
from inat.device import gpu_share
from inat.output import expendable_output
from inat.tuning.budget.asked import asks_for_plan
from inat.tuning.run_file import save_options


def run_search(kind: type[SearchConfig], description: str | None) -> None:
    """Read the options of a search from the command line and run it, or only show its preview or its plan."""

    started = time.monotonic()

    def parse_and_run() -> None:
        with options_in_messages(kind):
            config = parse_search(kind, description or "")
            if config.save_config is not None:
                save_options(config, config.save_config)
                return
            file = run_file_of(kind)
            chosen = typed_options(sys.argv[1:]) | set(file.values if file else ())
            with gpu_share(0 if config.gpus_per_trial == 0 else None):
                _run(config, started if asks_for_plan(config, chosen) else None)

    guard(parse_and_run)


def _run(config: SearchConfig, planned_from: float | None) -> None:
    if config.augment_preview is not None:
        from inat.data.preview import write_preview

        write_preview(config.data_config(), config.augment_preview, config.seed)
        return
    from inat.tuning.ray_backend.local_gpus import check_gpus_here

    if config.plan:
        check_gpus_here(config)
        _print_plan(config, planned_from)
    else:
        check_interpreter()
        check_gpus_here(config)
        from inat.tuning.command import search_and_report

        with expendable_output():
            search_and_report(config, planned_from=planned_from)


def _print_plan(config: SearchConfig, planned_from: float | None) -> None:
    if planned_from is not None:
        from inat.tuning.budget.begin import begin

        begin(config, planned_from, print, preview=True)
    elif isinstance(config, FinetuneConfig) and config.preset is not None and config.resume is None:
        from inat.tuning.racing.race import print_race_plan

        print_race_plan(config, print)
    elif isinstance(config, FinetuneConfig) and config.model is None:
        from inat.tuning.cost_estimate import print_plan

        print_plan(config)
    else:
        from inat.tuning.scratch_plan import print_scratch_plan

        print_scratch_plan(config)
