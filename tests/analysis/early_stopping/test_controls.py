import itertools
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from analysis.claims.check import COLUMNS, check_claims
from analysis.claims.grammar import parse
from analysis.early_stopping.controls import (
    control_correlation,
    describe_unknown,
    hypergeometric_interval,
    missed_summary,
    strata_of,
)
from analysis.early_stopping.late_effects import (
    control_findings,
    describe_changes,
    describe_ends,
    effects_early_and_late,
    late_effect,
)
from analysis.report.sections.claims import decided_claims
from analysis.report.sections.early_stopping import early_stopping_findings
from analysis.study import StudyData, load_study
from tests.analysis.studies import study_of, write_study_dir


def controlled(reverses: bool = True, controls: int = 8, seed: int = 0) -> StudyData:
    """120 trials of 9 epochs, of which 40 are kept at epoch 3: fast ones lead there, and end behind if ``reverses``."""
    rng = np.random.default_rng(seed)
    fast = np.arange(120) % 2 == 0
    early = 0.4 + 0.2 * fast + rng.normal(scale=0.03, size=120)
    final = (0.9 - 0.2 * fast if reverses else 0.7 + 0.2 * fast) + rng.normal(scale=0.02, size=120)
    kept = early >= np.sort(early)[-40]
    control = np.zeros(120, dtype=bool)
    for is_fast in (True, False):
        control[rng.permutation(np.flatnonzero(~kept & (fast == is_fast)))[: controls // 2]] = True
    whole = kept | control
    curves = [
        [*np.linspace(e - 0.1, e, 3), *np.linspace(e, f, 7)[1:]][: 9 if w else 3]
        for e, f, w in zip(early, final, whole, strict=True)
    ]
    states = ["completed" if w else "stopped" for w in whole]
    params = [{"speed": "fast" if f else "slow"} for f in fast]
    study = study_of(params, curves, states, grace_period=3, reduction_factor=3, max_epochs=9)
    marks = {"control_trial": control.astype(float), "asha_stop_epoch": np.where(control, 3.0, np.nan)}
    return replace(study, trials=study.trials.assign(**marks))


def test_an_effect_that_reverses_is_seen_from_controls_and_named_with_both_budgets():
    row = effects_early_and_late(controlled()).set_index("value").loc["fast"]
    assert (row["early_epochs"], row["late_epochs"], row["sign"]) == (3, 9, "changes")
    assert row["early_low"] > 0.15
    assert row["late_low"] < -0.2 < row["late_high"] < 0
    text = describe_changes(controlled())
    assert text.startswith("Effects that change their sign: speed=fast: +0.195 at epoch 3, -0.195 at 9; speed=slow: ")
    assert effects_early_and_late(controlled(reverses=False))["sign"].tolist() == ["same", "same"]
    assert describe_ends(controlled(reverses=False)).startswith(
        "From epoch 3 to 9, 2 of 2 effects of single values keep their sign, and none is known to change it"
    )


def test_a_study_without_stopped_trials_has_nothing_to_add_to_its_verdicts():
    study = study_of([{"a": 1}, {"a": 2}], [[0.5, 0.6], [0.5, 0.7]])
    assert (describe_ends(study), control_findings(study)) == ("", [])


def test_the_late_mean_weighs_controls_by_the_number_of_stopped_trials():
    kept, seen = pd.Series({"a": 0.8, "b": 0.6}), pd.Series({"c": 0.2, "d": 0.4})
    study = controlled()
    strata = replace(strata_of(study), kept=kept, seen=seen, stopped=pd.Index(["c", "d", "e", "f", "g", "h"]))
    whole, other = pd.Index(list("abcdefgh")), pd.Index(["a", "b"])
    assert late_effect(strata, whole, other).value == pytest.approx((2 * 0.7 + 6 * 0.3) / 8 - 0.7)
    assert np.isnan(late_effect(strata, pd.Index(["a", "c", "e"]), other).value)  # one control says nothing of spread


def test_missed_winners_are_counted_on_controls_with_an_exact_interval():
    study = controlled(controls=8)
    row = missed_summary(study).iloc[0]
    assert (row["stopped"], row["controls"], row["won"], row["expected"]) == (80, 8, 4, 40)
    assert (row["low"], row["high"]) == hypergeometric_interval(4, 8, 80)
    found = early_stopping_findings(study)[1]
    assert found.startswith(f"Early stopping missed {row['low']:.0f} to {row['high']:.0f} winners of 80 stopped trials")


@settings(deadline=None)  # scipy.stats is slow where other programs run
@given(st.integers(2, 60), st.data())
def test_the_interval_of_a_number_of_hits_holds_the_truth_in_95_percent_of_the_samples(total, data):
    drawn, true = data.draw(st.integers(1, total)), data.draw(st.integers(0, total))
    held = 0.0
    for hits in range(max(0, drawn + true - total), min(drawn, true) + 1):
        low, high = hypergeometric_interval(hits, drawn, total)
        held += float(stats.hypergeom.pmf(hits, total, true, drawn)) * (low <= true <= high)
    assert held >= 0.95 - 1e-9


def test_a_census_knows_the_number():
    assert [hypergeometric_interval(hits, 4, 4) for hits in range(5)] == [(hits, hits) for hits in range(5)]


def test_the_correlation_is_that_of_the_controls_alone():
    study = controlled()
    ids = study.trials.loc[study.trials["control_trial"].eq(1), "trial_id"]
    best = study.history.groupby("trial_id")["val_acc"]
    early = best.apply(lambda curve: curve.iloc[:3].max())[ids]
    row = control_correlation(study).iloc[0]
    assert row["controls"] == 8
    assert row["spearman"] == pytest.approx(stats.spearmanr(early, best.max()[ids]).statistic)
    assert row["low"] < row["spearman"] < row["high"]


@pytest.mark.parametrize("controls", [0, 4])
def test_too_few_controls_leave_one_sentence(controls):
    study = controlled(controls=controls)
    tables = (missed_summary(study), control_correlation(study), effects_early_and_late(study))
    assert [len(table) for table in tables] == [0, 0, 0]
    assert f"cannot be known ({controls} ended control trials" in describe_unknown(study)
    assert describe_changes(study) == ""
    plain = replace(study, trials=study.trials.drop(columns=["control_trial", "asha_stop_epoch"]))
    assert "cannot be known (0 ended control" in describe_unknown(plain)


def test_the_columns_of_a_study_directory_are_no_hyperparameters(tmp_path):
    study = controlled()
    read = load_study(write_study_dir(study, tmp_path / "study"))
    assert read.parameters == ["speed"]
    pd.testing.assert_frame_equal(effects_early_and_late(read), effects_early_and_late(study))


def test_a_control_that_failed_or_is_running_counts_as_not_seen():
    study = controlled()
    ids = list(itertools.islice(study.trials.index[study.trials["control_trial"].eq(1)], 2))
    trials = study.trials.copy()
    trials.loc[ids, "state"] = ["failed", "running"]
    strata = strata_of(replace(study, trials=trials))
    assert (len(strata.seen), len(strata.stopped)) == (6, 80)


def test_a_claim_that_the_last_epoch_reverses_says_so_beside_its_verdict():
    table = check_claims(controlled(), [parse("speed=fast > slow"), parse("speed=slow worst")])
    assert table["verdict"].tolist() == ["supported", "supported"]
    assert table["sign"].tolist() == ["changes", "changes"]
    assert (table["late_high"] < 0).all()
    (text,) = decided_claims(table)
    assert "at 3 epochs, 120 trials; -0.195 at epoch 9, -0.2" in text
    assert text.count(": the sign changes") == 2
    assert list(check_claims(controlled(controls=0), [parse("speed=fast > slow")])) == COLUMNS
