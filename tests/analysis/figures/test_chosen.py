import pandas as pd

from analysis.figures.chosen import MAX_CHOSEN, interactive_chosen, looks_of_trials


def curves_of(ids, epochs=2):
    return pd.DataFrame(
        [(i, e, 0.1 * e) for i in ids for e in range(1, epochs + 1)], columns=["trial_id", "epoch", "value"]
    )


def test_each_trial_has_a_curve_and_a_look_of_its_own():
    ids = [f"t{number:04d}" for number in range(MAX_CHOSEN)]
    looks = looks_of_trials(ids)
    assert len(set(looks.values())) == MAX_CHOSEN
    figure = interactive_chosen(curves_of(ids), "accuracy")
    assert [trace.name for trace in figure.data] == ids
    assert (figure.data[9].line.color, figure.data[9].line.dash) == looks["t0009"]


def test_more_trials_than_looks_are_left_out():
    ids = [f"t{number:04d}" for number in range(MAX_CHOSEN + 3)]
    assert len(interactive_chosen(curves_of(ids), "accuracy").data) == MAX_CHOSEN


def test_few_epochs_have_whole_ticks_and_names_are_no_markup():
    figure = interactive_chosen(curves_of(["<b>t"]), "<i>accuracy", "step")
    assert figure.layout.xaxis.dtick == 1
    assert figure.data[0].name == "&lt;b>t"
    assert figure.layout.yaxis.title.text == "&lt;i>accuracy"
    assert interactive_chosen(curves_of(["a"], 40), "accuracy").layout.xaxis.dtick is None
