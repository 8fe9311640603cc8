"""What a fine-tuning search will cost, printed before it starts."""

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from inat.config.finetune import FinetuneConfig
from inat.config.search import SearchConfig
from inat.device import gpu_share


def describe_cost(config: SearchConfig) -> str:
    """The estimated time of a fine-tuning search on this machine, from a few measured batches; "" for others.

    A process of its own measures it: the search must keep neither memory of a GPU nor another number of threads.
    """
    if not isinstance(config, FinetuneConfig):
        return ""
    try:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            total = pool.submit(_estimate_alone, config).result()
    except Exception as error:  # whatever an estimate may fail of, the search does not need it
        return f"cost    not estimated ({type(error).__name__}: {error})"
    return f"cost    {total}" if total else ""


def _estimate_alone(config: FinetuneConfig) -> str:
    with gpu_share(0 if config.gpus_per_trial == 0 else None):  # a new process does not know it
        return estimate(config)


def estimate(config: FinetuneConfig) -> str:
    """The first line of the summary of --plan; "" if no trial is left."""
    from inat.tuning.cost_estimate import make_plan, plan_summary  # loads torch
    from inat.tuning.progress import progress_of
    from inat.tuning.scratch_plan import describe_time, estimate_cost
    from inat.tuning.task import check_task

    task = check_task(config)
    progress = progress_of(task)
    if not progress.left:
        return ""
    if config.model is not None:
        time = describe_time(config, estimate_cost(task, task.load(), progress)).partition("\n")[0]
        return time.removeprefix("time    ")
    total = plan_summary(config, make_plan(config, task, task.load(), progress)).partition("\n")[0]
    return f"{total}; --plan shows it by backbone and strategy"
