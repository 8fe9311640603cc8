import pytest
from optuna.trial import TrialState
from ray.exceptions import ActorDiedError, LocalRayletDiedError, WorkerCrashedError

from inat.config.objective import ACCURACY, OBJECTIVES
from inat.constants import COMPLETED, FAILED, STOPPED
from inat.study.trial import Trial
from inat.tuning.rungs import Rungs
from inat.tuning.sampling.feedback import SamplerFeedback, feedback_for, steps_of
from inat.tuning.sampling.gains import Gains


def losing(values: list[float], state: str = COMPLETED, error: str = "") -> Trial:
    """A trial of a study that minimises the loss."""
    best = [min(values[: i + 1]) for i in range(len(values))]
    rows = [{"epoch": i, "best_val_loss": value} for i, value in enumerate(best, start=1)]
    return Trial("t0000", 0, {}, "", state, error=error, history=rows, objective=OBJECTIVES["val_loss"])


def trial(values: list[float], state: str = COMPLETED, error: str = "") -> Trial:
    best = [max(values[: i + 1]) for i in range(len(values))]
    rows = [{"epoch": i, "best_val_acc": value} for i, value in enumerate(best, start=1)]
    return Trial("t0000", 0, {}, "", state, error=error, history=rows)


def complete(value: float) -> SamplerFeedback:
    return SamplerFeedback(TrialState.COMPLETE, pytest.approx(value))


def test_rungs_are_at_powers_of_the_factor_below_the_last_epoch():
    rungs = Rungs(grace=3, factor=3, max_epochs=27)
    assert rungs.milestones == [3, 9]
    assert [rungs.reached(epochs) for epochs in (0, 2, 3, 8, 9, 27)] == [0, 0, 1, 1, 2, 2]
    assert Rungs(grace=1, factor=4, max_epochs=20).milestones == [1, 4, 16]


FINISHED = Gains([trial([0.2, 0.3, 0.5, 0.6]), trial([0.1, 0.5, 0.5, 0.7]), trial([0.3, 0.4, 0.4, 0.9])])


@pytest.mark.parametrize(("policy", "value"), [("chain", 0.3), ("last", 0.3), ("extrapolate", 0.3 + 0.3)])
def test_a_stopped_trial_counts_by_policy(policy, value):
    # After epoch 2 the completed trials gained 0.3, 0.2 and 0.5.
    assert feedback_for(trial([0.3, 0.2], STOPPED), FINISHED, policy) == complete(value)


def test_a_pruned_trial_has_no_value_of_its_own():
    assert feedback_for(trial([0.3], STOPPED), FINISHED, "pruned") == SamplerFeedback(TrialState.PRUNED, None)


def test_extrapolation_is_at_most_one_and_needs_completed_trials():
    assert feedback_for(trial([0.9, 0.9], STOPPED), FINISHED, "extrapolate") == complete(1.0)
    unhelpful = Gains([trial([0.1, 0.2], STOPPED), trial([0.1, 0.9], FAILED), trial([0.4])])
    assert unhelpful.median_after((0, 1)) == 0.0
    assert feedback_for(trial([0.4], STOPPED), unhelpful, "extrapolate") == complete(0.4)


@pytest.mark.parametrize("policy", ["chain", "extrapolate", "last", "pruned"])
def test_a_trial_that_ended_by_itself_counts_with_its_best_accuracy(policy):
    assert feedback_for(trial([0.3, 0.5, 0.4]), FINISHED, policy) == complete(0.5)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("state", [COMPLETED, STOPPED])
def test_an_accuracy_that_is_not_finite_counts_as_the_worst(value, state):
    assert feedback_for(trial([value], state), FINISHED, "extrapolate") == SamplerFeedback(
        TrialState.COMPLETE, ACCURACY.worst
    )


@pytest.mark.parametrize(
    "error",
    [
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB",
        "RuntimeError: [enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't allocate memory: you",
        "MemoryError",
        "numpy._core._exceptions._ArrayMemoryError: Unable to allocate 8 GiB for an array",
        "torch.AcceleratorError: CUDA error: out of memory",
        "RuntimeError: CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "2 worker(s) were killed due to the node running low on memory. Memory on the node was 15.9GB / 16GB",
        str(ActorDiedError()),
        f"ray.exceptions.WorkerCrashedError: {WorkerCrashedError()}",
        str(LocalRayletDiedError()),
        "The actor is dead because its worker process has died. Worker exit type: SYSTEM_ERROR",
        "Task failed because the node it was running on is dead or unavailable. Node IP: 10.0.0.2",
        "no epoch within --trial-timeout",
    ],
)
def test_out_of_memory_and_dead_processes_count_as_the_worst(error):
    assert feedback_for(trial([0.5], FAILED, error), FINISHED, "extrapolate") == SamplerFeedback(
        TrialState.COMPLETE, ACCURACY.worst
    )


@pytest.mark.parametrize(
    "error",
    ["ValueError: no mish today", "ValueError: model kindly died-out", "KeyError: 'killed'", "no reason known", ""],
)
def test_other_failures_count_as_fail(error):
    assert feedback_for(trial([0.5], FAILED, error), FINISHED, "extrapolate") == SamplerFeedback(TrialState.FAIL, None)


def test_a_stopped_trial_that_minimises_gets_the_median_fall_of_completed_ones_and_never_less_than_0():
    finished = Gains([losing([2.0, 1.0]), losing([2.0, 1.5]), losing([2.0, 1.2])])
    assert finished.median_after((0, 1)) == pytest.approx(-0.8)
    assert feedback_for(losing([1.5], STOPPED), finished, "extrapolate").value == pytest.approx(0.7)
    assert feedback_for(losing([0.5], STOPPED), finished, "extrapolate").value == 0.0
    assert feedback_for(losing([1.5], STOPPED), finished, "last").value == 1.5


@pytest.mark.parametrize(
    "bad", [losing([float("nan")]), losing([float("inf")]), losing([1e9]), losing([], FAILED, "CUDA out of memory")]
)
def test_a_trial_without_a_loss_counts_as_a_large_one(bad):
    assert feedback_for(bad, Gains(), "extrapolate") == SamplerFeedback(TrialState.COMPLETE, 7.0)


def folded(*rows: tuple[float, int, int], state: str = COMPLETED) -> Trial:
    """A trial with the rows (best_val_acc, fold, folds_done)."""
    found = trial([], state)
    found.history = [
        {"epoch": epoch, "best_val_acc": value, "fold": fold, "fold_best": value, "folds_done": done}
        for epoch, (value, fold, done) in enumerate(rows, start=1)
    ]
    return found


def test_with_folds_a_stopped_trial_gains_what_others_gained_from_the_same_fold_on():
    finished = Gains([folded((0.5, 1, 0), (0.6, 1, 1), (0.6, 2, 1), (0.55, 2, 2))])
    in_first = folded((0.3, 1, 0), state=STOPPED)
    after_first = folded((0.2, 1, 0), (0.3, 1, 0), (0.3, 1, 1), state=STOPPED)
    assert feedback_for(in_first, finished, "extrapolate").value == pytest.approx(0.3 + 0.05)
    assert feedback_for(after_first, finished, "extrapolate").value == pytest.approx(0.3 - 0.05)


def test_with_folds_a_stopped_trial_that_minimises_gains_what_others_gained():
    def losses(state, *rows):
        found = folded(*rows, state=state)
        found.objective = OBJECTIVES["val_loss"]
        found.history = [{**row, "best_val_loss": row["best_val_acc"]} for row in found.history]
        return found

    finished = Gains([losses(COMPLETED, (0.9, 1, 0), (0.7, 1, 1), (0.7, 2, 1), (0.8, 2, 2))])
    assert feedback_for(losses(STOPPED, (1.3, 1, 0)), finished, "extrapolate").value == pytest.approx(1.2)
    assert feedback_for(losses(STOPPED, (1.3, 1, 1)), finished, "extrapolate").value == pytest.approx(1.4)
    assert feedback_for(losses(STOPPED, (0.05, 1, 0)), finished, "extrapolate").value == 0.0


def test_the_end_of_each_fold_is_a_rung():
    rungs = Rungs(3, 3, 27, trainings=3)
    assert rungs.milestones == [3, 9]
    assert rungs.steps == [3, 9, 27, 54]
    assert rungs.reached_by(folded((0.3, 1, 1), (0.3, 2, 1))) == 3
    assert rungs.reached_by(folded((0.3, 1, 0))) == 0


def test_optuna_gets_the_results_at_equal_cost():
    rows = [{"epoch": epoch, "best_val_acc": value} for epoch, value in enumerate((0.1, 0.2, 0.3, 0.4), start=1)]
    assert steps_of(Trial("t0000", 0, {}, "", history=rows, epoch_cost=0.5)) == {1: 0.2, 2: 0.4}
    assert steps_of(Trial("t0000", 0, {}, "", history=rows[:2], epoch_cost=2.0)) == {3: 0.1, 5: 0.2}
    assert steps_of(Trial("t0000", 0, {}, "", history=rows)) == {1: 0.1, 2: 0.2, 3: 0.3, 4: 0.4}
