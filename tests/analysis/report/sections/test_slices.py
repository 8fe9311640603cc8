from analysis.report.budget_results import compare_at_budget
from analysis.report.document import ReportFigure
from analysis.report.sections.equal_budget import equal_budget_sections
from analysis.report.sections.slices import slices_section
from tests.analysis.studies import early_stopped_study


def test_few_trials_are_called_too_few():
    study = early_stopped_study(trials=6)
    (text,) = slices_section(study, compare_at_budget(study)).items
    assert text.startswith("Too few trials for slices (best validation accuracy within 3 epochs, 6 of 6 trials")


def test_the_text_says_what_larger_budgets_leave_out_and_the_data_has_all_budgets():
    study = early_stopped_study()
    text, figure = slices_section(study, compare_at_budget(study)).items
    assert "within 3 epochs, 60 of 60 trials" in text
    assert "they leave out the trials that were stopped before" in text
    assert isinstance(figure, ReportFigure)
    assert figure.caption.startswith("Result within 3 epochs, unless another budget is chosen")
    assert figure.data.groupby("epochs").size().to_dict() == {3: 60, 9: 30}


def test_the_strongest_pair_is_the_first_choice():
    study = early_stopped_study()
    (section,) = (s for s in equal_budget_sections(study, compare_at_budget(study)) if s.name == "interactions")
    (figure,) = (item for item in section.items if isinstance(item, ReportFigure) and item.name == "interaction")
    assert section.items[0].startswith("batch_norm and learning_rate interact")
    choices = figure.interactive.layout.meta["choices"]
    assert choices[0]["options"][0] == "batch norm and learning rate"
    assert choices[1]["options"] == ["within 3 epochs: 60 of 60 trials", "within 9 epochs: 30 of 60 trials"]
