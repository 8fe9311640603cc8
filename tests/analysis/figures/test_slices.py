import numpy as np

from analysis.comparable import sample_at
from analysis.figures.contour import interactive_contour, pair_means
from analysis.figures.slices import MAX_DOTS, interactive_slices, plot_slices, slice_table
from analysis.stats.slices import samples_at_budgets
from tests.analysis.studies import early_stopped_study, sample_of

NAMES = ["batch_norm", "learning_rate"]


def drawn(figure, **choice) -> list:
    """The traces that the page shows for a choice."""
    return [t for t in figure.data if all(t.meta["choice"][name] == number for name, number in choice.items())]


def test_the_budget_stands_in_each_chart():
    study = early_stopped_study()
    samples = samples_at_budgets(study, sample_at(study))
    assert plot_slices(samples[1], NAMES).get_ylabel() == "accuracy within 9 epochs"
    figure = interactive_slices(samples, 0, NAMES)
    titles = [drawn(figure, budget=number)[0].meta["layout"]["title"]["text"] for number in (0, 1)]
    assert titles == ["accuracy within 3 epochs: 60 of 60 trials", "accuracy within 9 epochs: 30 of 60 trials"]
    assert figure.layout.meta["choices"][0]["options"] == [title.removeprefix("accuracy ") for title in titles]


def test_a_slice_has_the_results_within_its_budget():
    study = early_stopped_study()
    for number, sample in enumerate(samples := samples_at_budgets(study, sample_at(study))):
        shared = interactive_slices(samples, 0, NAMES).layout.meta["shared"][number]
        within = study.history[study.history["epoch"].le(sample.epochs)].groupby("trial_id")["val_acc"].max()
        assert np.allclose(shared["y"], within[shared["ids"]])
        assert len(drawn(interactive_slices(samples, 0, NAMES), budget=number)) == len(NAMES)


def test_dots_stay_near_their_label():
    sample = sample_at(early_stopped_study())
    (trace, _) = interactive_slices([sample], 0, NAMES).data
    codes = slice_table(sample, NAMES)["batch_norm"].astype(int)
    assert np.abs(trace.x - codes).max() < 0.2


def test_many_trials_are_thinned_evenly():
    sample = sample_of(np.linspace(0, 1, 3 * MAX_DOTS), a=np.arange(3 * MAX_DOTS) / 7)
    sample.trials["trial_id"] = [f"t{i}" for i in range(3 * MAX_DOTS)]
    table = slice_table(sample, ["a"])
    assert len(table) == MAX_DOTS
    assert table["result"].iloc[[0, -1]].tolist() == [0.0, 1.0]


def test_two_numbers_with_many_values_have_a_contour_and_others_a_heat_map():
    rng = np.random.default_rng(0)
    x, y = rng.uniform(0.1, 0.9, (2, 40))
    sample = sample_of(x + y, x=x, y=y, kind=rng.choice(["a", "b"], 40))
    sample.trials["trial_id"] = [f"t{i}" for i in range(40)]
    figure = interactive_contour([sample], 0, [("x", "y"), ("kind", "x")])
    assert [trace.type for trace in drawn(figure, pair=0)] == ["contour", "scatter"]
    assert [trace.type for trace in drawn(figure, pair=1)] == ["heatmap"]
    assert figure.layout.meta["choices"][0]["options"] == ["x and y", "kind and x"]
    surface, dots = drawn(figure, pair=0)
    assert surface.meta["layout"]["xaxis"]["title"]["text"] == "y"  # as in the heat map, whose rows are the first
    assert np.allclose(dots.x, y)
    assert list(dots.ids) == sample.trials["trial_id"].tolist()


def test_the_data_of_all_pairs_names_the_pair_and_the_budget():
    study = early_stopped_study()
    samples = samples_at_budgets(study, sample_at(study))
    table = pair_means(samples, [("batch_norm", "learning_rate"), ("activation", "batch_norm")])
    assert table.groupby(["first", "epochs"])["trials"].sum().tolist() == [60, 30, 60, 30]
