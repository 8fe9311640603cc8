"""Optuna's storage in memory, with a bound on the ended trials that a sampler learns from, and their present lessons.

TPE builds a density from every ended trial for each suggestion, so its time grows with their number: 10 ms after 1,000
trials, and ten times as much after 10,000. It takes the few best ones as good. The others, of which older ones weigh
less, only say where the bad values are; some hundreds of these say it as well (docs/clusters/scaling.md).

With a ``Chain``, what a trial counts with changes after it has ended, and a running trial may count as a complete one.
"""

import copy
from bisect import insort
from collections.abc import Container, Sequence
from typing import Any

from optuna.storages import InMemoryStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from inat.tuning.sampling.chain import Chain

MAX_LEARNED = 1_000  # ended trials that a sampler learns from; up to this number, it is all of them
# A suggestion of a Gaussian process takes 2 s of processor time after 400 trials, and 6 s after 800.
MAX_LEARNED_BY_GP = 300
GOOD = 25  # that TPE takes as good ones, whatever the number of trials; these are always among them
LEARNED = (TrialState.COMPLETE, TrialState.PRUNED)


class BoundedHistory(InMemoryStorage):
    """The storage of one study: ``get_all_trials`` with states leaves out old trials beyond ``max_learned``.

    A sampler that asks for complete trials, as all that learn do, gets the GOOD best and the latest ended ones, and all
    others in these states, in order of number. Without states all trials are returned. With a ``chain``, ended trials
    have the values that it gives them now; a sampler that asks for running trials gets those with such a value as
    complete ones.
    """

    def __init__(self, max_learned: int = MAX_LEARNED, chain: Chain | None = None) -> None:
        super().__init__()
        self._max_learned = max_learned
        self._chain = chain
        self._next_number = 0
        self._ended: list[int] = []  # numbers of the trials in LEARNED, ascending
        # The GOOD best of them by their last rung in the chain: (rank, number), ascending. A change of the chain
        # changes no order within a rung.
        self._best: dict[int | None, list[tuple[tuple[float, ...], int]]] = {}
        self._open: set[int] = set()  # numbers of the trials that may still change

    @property
    def next_number(self) -> int:
        """The number of the next trial."""
        return self._next_number

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        trial_id: int = super().create_new_trial(study_id, template_trial)
        trial = self.get_trial(trial_id)
        self._next_number = trial.number + 1
        self._note(study_id, trial)
        return trial_id

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Sequence[float] | None = None) -> bool:
        changed: bool = super().set_trial_state_values(trial_id, state, values)
        self._note(0, self.get_trial(trial_id))
        return changed

    def _note(self, study_id: int, trial: FrozenTrial) -> None:
        if not trial.state.is_finished():
            self._open.add(trial.number)
            return
        self._open.discard(trial.number)
        if trial.state in LEARNED:
            insort(self._ended, trial.number)
            (direction,) = self.get_study_directions(study_id)
            best = self._best.setdefault(self._chain.rung_of(trial.number) if self._chain else None, [])
            insort(best, (rank(trial, direction), trial.number))
            del best[GOOD:]

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        bounded = not deepcopy and states is not None and TrialState.COMPLETE in states
        trials: list[FrozenTrial]
        if not bounded or len(self._ended) <= self._max_learned:
            trials = super().get_all_trials(study_id, deepcopy, states)
        else:
            assert states is not None
            trials = super().get_all_trials(study_id, deepcopy=False)
            learned = (trials[number] for number in sorted(self._learned(study_id, trials) | self._open))
            trials = [trial for trial in learned if trial.state in states]
        if self._chain is None or deepcopy or (states is None and len(self._ended) > self._max_learned):
            return trials  # a sampler that looks at so many trials only counts them
        wants_running = states is not None and TrialState.RUNNING in states
        return [_revised(trial, self._chain, wants_running) for trial in trials]

    def _learned(self, study_id: int, trials: Sequence[FrozenTrial]) -> set[int]:
        best = [entry for entries in self._best.values() for entry in entries]
        if self._chain is not None:
            (direction,) = self.get_study_directions(study_id)
            for _, number in best:
                _revised(trials[number], self._chain, False)
            best = sorted((rank(trials[number], direction), number) for _, number in best)
        good = {number for _, number in best[:GOOD]}
        latest = self._ended[-self._max_learned :]
        others = [number for number in latest if number not in good]
        return good | set(others[len(good) + len(others) - self._max_learned :])


def _revised(trial: FrozenTrial, chain: Chain, wants_running: bool) -> FrozenTrial:
    """The trial with its present value: an ended one itself, a running one as a complete copy if that is wanted."""
    if trial.state == TrialState.RUNNING:
        if not wants_running or trial.number not in chain.running:
            return trial
        trial = copy.copy(trial)
        trial.state = TrialState.COMPLETE
    elif trial.state != TrialState.COMPLETE:
        return trial
    value = chain.value_of(trial.number)
    if value is not None and trial.values != [value]:
        trial.values = [value]
    return trial


def rank(trial: FrozenTrial, direction: StudyDirection) -> tuple[float, ...]:
    """The order in which TPE takes ended trials as good ones: complete ones by value, then pruned ones by step."""
    sign = -1.0 if direction == StudyDirection.MAXIMIZE else 1.0
    if trial.state == TrialState.COMPLETE:
        value: Any = trial.value
        return (0.0, sign * value)
    step = trial.last_step
    return (1.0, 1.0, 0.0) if step is None else (1.0, -step, sign * trial.intermediate_values[step])
