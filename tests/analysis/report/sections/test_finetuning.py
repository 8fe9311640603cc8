"""The section about fine-tuning strategies of a report."""

from analysis.report.document import ReportFigure, Table
from analysis.report.sections.finetuning import finetuning_section
from tests.analysis.studies import study_of

STRATEGIES = {"freeze_all": 0.4, "lora": 0.6}


def tuned(states: list[str] | None = None):
    params, curves = [], []
    for strategy, level in STRATEGIES.items():
        for number, rate in enumerate([1e-4, 1e-3, 1e-2] * 2):
            params.append(
                {"backbone": "vit", "strategy": strategy, "learning_rate": rate, "batch_size": 32 + number // 3}
            )
            curves.append([level * 0.5, level + 0.01 * number, level])
    return study_of(params, curves, states)


def test_only_a_fine_tuning_study_has_the_section():
    assert finetuning_section(study_of([{"conv_layers": 3}], [[0.5]])) == []
    (section,) = finetuning_section(tuned())
    assert (section.title, section.failure) == ("Fine-tuning strategies", None)


def test_it_names_the_best_strategy_with_its_interval_and_any_name_will_do():
    (section,) = finetuning_section(tuned())
    texts = [item for item in section.items if isinstance(item, str)]
    assert texts[0].startswith(
        "vit lora reaches the best expected accuracy of 6 of its trials (0.650, 95 % interval 0."
    )
    assert "it is not recorded" in texts[1]
    assert texts[2] == (
        "All combinations converge within 2 epochs (median epochs to 95 % of the best, 12 completed trials)."
    )
    figures = [item.name for item in section.items if isinstance(item, ReportFigure)]
    assert figures == ["strategies", "convergence", "rates"]
    tables = {item.name: item.frame for item in section.items if isinstance(item, Table)}
    assert tables["strategies"]["strategy"].tolist() == ["lora", "freeze_all"]
    assert "study" not in tables["strategies"]


def test_a_study_without_a_result_has_the_reason_instead():
    (section,) = finetuning_section(tuned(["failed"] * 12))
    assert len(section.items) == 1
    assert "all 12 trials failed" in section.items[0]


def test_without_completed_trials_convergence_is_unknown():
    (section,) = finetuning_section(tuned(["stopped"] * 12))
    assert "No trial completed, so convergence is unknown." in section.items


def test_half_epochs_are_told_apart():
    study = tuned()
    slower = study.history["trial_id"].isin(["t0000", "t0001", "t0002"]) & study.history["epoch"].eq(2)
    study.history.loc[slower, "val_acc"] = 0.3
    (section,) = finetuning_section(study)
    texts = [item for item in section.items if isinstance(item, str)]
    assert texts[2].startswith("lora converges fastest, in 2 epochs, and freeze_all slowest, in 2.5 epochs (median")
