"""What was published about fine-tuning, checked on studies whose truth is known."""

from dataclasses import replace

import numpy as np
import pytest

from analysis.claims.finetuning import CONVERGENCE_CLAIM, RATE_CLAIM, STAGES_CLAIM, check_finetuning_claims
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
