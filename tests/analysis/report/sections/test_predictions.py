from analysis.report.document import Gallery, ReportFigure
from analysis.report.sections.predictions import predictions_section
from tests.analysis.readers.test_predictions import BEST, content, write


def items_of(folder, **changes) -> list:
    (folder / "study.json").write_text("{}")
    write(folder, **changes)
    (section,) = predictions_section(folder, BEST)
    return section.items


def test_the_mistakes_are_counted_drawn_and_shown(tmp_path):
    text, figure, gallery = items_of(tmp_path)
    assert text.startswith("The best model predicts 2 of 10 validation photos wrongly, most often cat as dog (2 of 6).")
    assert isinstance(figure, ReportFigure)
    assert figure.data.to_numpy().tolist() == [["cat", 4, 2], ["dog", 0, 4]]
    assert isinstance(gallery, Gallery)
    assert gallery.title == "All mistakes"
    assert [caption for caption, _ in gallery.rows] == [
        "cat predicted as dog (90 %): val/cat/1.jpg", "cat predicted as dog (60 %): val/cat/1.jpg",
    ]  # fmt: skip


def test_a_model_without_mistakes_has_no_pictures(tmp_path):
    text, _ = items_of(tmp_path, confusion=[[0, 0, 6], [1, 1, 4]], mistakes=[])
    assert text.startswith("The best model predicts all 10 validation photos correctly.")


def test_unreadable_pictures_are_a_sentence(tmp_path):
    *_, text = items_of(tmp_path, mistakes=[one | {"picture": ""} for one in content()["mistakes"]])
    assert text == "The pictures of the mistakes in validation_predictions.json cannot be read, so none are shown."


def test_many_classes_have_no_matrix(tmp_path):
    _, text, _ = items_of(tmp_path, classes=[f"class {number}" for number in range(5000)])
    assert text == "No confusion matrix is drawn for more than 100 classes (the study has 5,000)."


def test_a_fold_is_named(tmp_path):
    assert "2 of 10 validation photos of fold 3 wrongly" in items_of(tmp_path, fold=3)[0]


def test_a_study_without_predictions_says_so_and_one_of_another_tool_has_no_section(tmp_path):
    assert predictions_section(tmp_path, BEST) == []
    (tmp_path / "study.json").write_text("{}")
    (section,) = predictions_section(tmp_path, BEST)
    assert "which a search writes at its end" in section.missing
