"""What was published about fine-tuning, checked on studies whose truth is known."""

from dataclasses import replace

import numpy as np
import pytest

from analysis.claims.check import COLUMNS, LATE_COLUMNS, check_claims
from analysis.claims.finetuning import CONVERGENCE_CLAIM, RATE_CLAIM, STAGES_CLAIM, check_finetuning_claims
from analysis.claims.grammar import parse
from analysis.early_stopping.late_effects import describe_budgets
from analysis.report.sections.finetuning import finetuning_section
from tests.analysis.studies import study_of

RATES = [1e-4, 3e-4, 5e-4, 8e-4, 3e-3, 1e-2]


def tuned_study(rate_effect: float = 0.0, stage_effect: float = 0.0, repeats: int = 3, curve=(0.6, 0.98, 1.0)):
    """All strategies and rates; ``rate_effect``: of 3e-4 to 8e-4; ``stage_effect``: of k 2 and 3."""
    rng = np.random.default_rng(0)
    settings = [("freeze_all", None), ("unfreeze_all", None), *(("freeze_partial", k) for k in (1, 2, 3))]
    params, curves = [], []
    for strategy, k in settings:
        for rate in RATES * repeats:
            params.append({"backbone": "resnet50", "strategy": strategy, "k_layers": k, "learning_rate": rate})
            level = 0.5 + rate_effect * (3e-4 <= rate <= 8e-4) + stage_effect * (k in (2, 3)) + 0.01 * rng.normal()
            curves.append([level * share for share in curve])
    return study_of(params, curves)


def scratch_study(curve=(0.2, 0.5, 1.0), trials: int = 12):
    rng = np.random.default_rng(1)
    levels = 0.4 + 0.01 * rng.normal(size=trials)
    return study_of([{"conv_layers": i % 3} for i in range(trials)], [[v * share for share in curve] for v in levels])


def verdicts(**studies) -> dict[str, str]:
    table = check_finetuning_claims(studies)
    return dict(zip(table["claim"], table["verdict"], strict=True))


def test_true_claims_are_supported():
    found = verdicts(tuned=tuned_study(rate_effect=0.1, stage_effect=0.1), scratch=scratch_study())
    assert found == {RATE_CLAIM: "supported", STAGES_CLAIM: "supported", CONVERGENCE_CLAIM: "supported"}


def test_false_claims_are_contradicted():
    tuned = tuned_study(rate_effect=-0.1, stage_effect=-0.1, curve=(0.2, 0.5, 1.0))
    found = verdicts(tuned=tuned, scratch=scratch_study(curve=(0.6, 0.98, 1.0)))
    assert found == {RATE_CLAIM: "contradicted", STAGES_CLAIM: "contradicted", CONVERGENCE_CLAIM: "contradicted"}


def test_claims_about_nothing_are_undecided():
    found = verdicts(tuned=tuned_study(curve=(0.2, 0.5, 1.0)), scratch=scratch_study())
    assert set(found.values()) == {"undecided"}


def test_too_few_trials_are_undecided_and_the_note_says_why():
    table = check_finetuning_claims({"scratch": scratch_study(trials=3), "tuned": tuned_study(repeats=1)})
    row = table[table["claim"].eq(CONVERGENCE_CLAIM)].iloc[0]
    assert (row["verdict"], row["note"]) == ("undecided", "fewer than 5 trials in a group")
    assert (row["trials"], row["rival_trials"]) == (30, 3)


def test_the_effect_of_convergence_is_a_number_of_epochs():
    table = check_finetuning_claims({"scratch": scratch_study(), "tuned": tuned_study()})
    row = table[table["claim"].eq(CONVERGENCE_CLAIM)].iloc[0]
    assert row["effect"] == pytest.approx(1.0)  # 3 epochs against 2
    assert row["epochs"] == 3
    assert row["note"] == "in epochs: 2.0 against 3.0 on average; not adjusted"


def test_convergence_on_other_photos_is_not_testable():
    tuned, scratch = (
        replace(study, info={"config": {}, "data": {"fingerprint": name}})
        for study, name in ((tuned_study(), "a"), (scratch_study(), "b"))
    )
    assert verdicts(tuned=tuned, scratch=scratch)[CONVERGENCE_CLAIM] == "not testable"


def test_random_weights_are_scratch():
    random = tuned_study()
    random = replace(random, info={"config": {"weights": "none"}})
    assert CONVERGENCE_CLAIM not in verdicts(random=random, scratch=scratch_study())
    assert CONVERGENCE_CLAIM in verdicts(random=random, tuned=tuned_study())


def test_a_study_is_asked_only_about_what_it_varied():
    params = [{"backbone": "vit", "strategy": "lora", "learning_rate": rate} for rate in RATES]
    assert verdicts(lora=study_of(params, [[0.5]] * len(params))) == {}
    assert verdicts(scratch=scratch_study()) == {}


def turning_study(controls: int = 8):
    """Rates of 3e-4 to 8e-4 lead at epoch 1, where ASHA stops two thirds, and end behind."""
    rng = np.random.default_rng(3)
    rates = RATES * 20
    inside = np.array([3e-4 <= rate <= 8e-4 for rate in rates])
    early = 0.5 + 0.1 * inside + 0.03 * rng.normal(size=len(rates))
    final = 0.9 - 0.1 * inside + 0.01 * rng.normal(size=len(rates))
    kept = early >= np.sort(early)[-40]
    control = np.zeros(len(rates), dtype=bool)
    for group in (inside, ~inside):
        control[rng.permutation(np.flatnonzero(~kept & group))[: controls // 2]] = True
    whole = kept | control
    curves = [[e, f] if w else [e] for e, f, w in zip(early, final, whole, strict=True)]
    params = [{"strategy": "freeze_partial", "k_layers": 1, "learning_rate": rate} for rate in rates]
    states = ["completed" if w else "stopped" for w in whole]
    study = study_of(params, curves, states, grace_period=1, reduction_factor=3, max_epochs=2)
    marks = {"control_trial": control.astype(float), "asha_stop_epoch": np.where(control, 1.0, np.nan)}
    return replace(study, trials=study.trials.assign(**marks))


def test_a_claim_about_fine_tuning_has_the_effect_at_the_last_epoch_beside_its_verdict():
    study = turning_study()
    row = check_finetuning_claims({"tuned": study}).iloc[0]
    assert (row["verdict"], row["epochs"], row["late_epochs"], row["sign"]) == ("supported", 1, 2, "changes")
    assert row["late_low"] < -0.1 < row["late_high"] < 0
    own = check_claims(study, [parse("learning_rate in (3e-4, 5e-4, 8e-4) > (1e-4, 3e-3, 1e-2)")]).iloc[0]
    assert row[LATE_COLUMNS[:3]].tolist() == pytest.approx(own[LATE_COLUMNS[:3]].tolist())
    few = turning_study(controls=4)
    assert list(check_finetuning_claims({"tuned": few})) == ["study", *COLUMNS]
    assert "cannot be known (4 ended control trials" in describe_budgets(few, 1)


def test_where_all_trials_run_to_the_end_there_is_one_budget():
    study = tuned_study()
    assert list(check_finetuning_claims({"tuned": study})) == ["study", *COLUMNS]
    text = "No trial was stopped early, so these verdicts are about epoch 3, the last: there is one budget."
    assert describe_budgets(study, 3) == text
    (section,) = finetuning_section(study)
    assert text in section.items


def test_at_an_earlier_epoch_of_whole_trainings_the_last_one_stands_beside_the_verdict():
    study = tuned_study(rate_effect=0.1)
    table = check_finetuning_claims({"tuned": study, "scratch": scratch_study()}, epochs=1).set_index("claim")
    late = check_finetuning_claims({"tuned": study}).set_index("claim")
    assert table.loc[RATE_CLAIM, "late"] == pytest.approx(late.loc[RATE_CLAIM, "plain"])
    assert (table.loc[RATE_CLAIM, "late_epochs"], table.loc[RATE_CLAIM, "sign"]) == (3, "same")
    assert table.loc[CONVERGENCE_CLAIM, LATE_COLUMNS].isna().all()
    own = check_claims(study, [parse("strategy=freeze_all > unfreeze_all")], epochs=1)
    assert own["late_epochs"].tolist() == [3]
    assert describe_budgets(study, 1).endswith("about epoch 3, the last, with all trials.")
