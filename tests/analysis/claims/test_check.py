import numpy as np
import pytest

from analysis.claims.check import TAKEAWAYS, check_claims, published_takeaways
from analysis.claims.grammar import ClaimError, parse, read_claims
from analysis.stats.regression import Effect
from tests.analysis.studies import confounded, factorial, known_study, study_of


def study(n=120, seed=0, effect=0.1, epochs=3):
    sample = confounded(n, seed, effect)
    curves = [[a - 0.02 * (epochs - e) for e in range(1, epochs + 1)] for a in sample.trials["accuracy"]]
    return study_of(sample.trials[sample.parameters].to_dict("records"), curves)


def verdicts(data, *texts, **options):
    return check_claims(data, [parse(text) for text in texts], **options)["verdict"].tolist()


def test_a_true_claim_is_supported_and_its_reverse_contradicted():
    texts = ["good=True > good=False", "good=False > True", "good=False < True", "good=True best", "good=False best",
             "good=False poor", "good=True worst"]  # fmt: skip
    assert verdicts(study(), *texts) == [
        "supported", "contradicted", "supported", "supported", "contradicted", "supported", "contradicted",
    ]  # fmt: skip


def test_a_parameter_without_effect_is_undecided_although_plain_means_differ():
    table = check_claims(
        study(300, 2), [parse("rider=True > False"), parse("idle=a best"), parse("idle in (a, b) > c")]
    )
    assert table["verdict"].tolist() == ["undecided"] * 3
    assert table.loc[0, "plain"] > 0.05
    assert table.loc[0, "low"] < 0 < table.loc[0, "high"]


def test_best_must_beat_each_other_value():
    rng = np.random.default_rng(0)
    params = [{"x": "abc"[i % 3]} for i in range(90)]
    curves = [[{"a": 0.6, "b": 0.59, "c": 0.3}[p["x"]] + rng.normal() * 0.05] for p in params]
    table = check_claims(study_of(params, curves), [parse("x=a best"), parse("x=c best"), parse("x=c worst")])
    assert table["verdict"].tolist() == ["undecided", "contradicted", "supported"]
    assert table.loc[0, "note"] == "against b"


@pytest.mark.parametrize("odd", [[{"x": "d"}], [{"x": np.nan}, {"y": 1}], [{"x": "d"}, {"x": "e"}, {"x": None}]])
def test_a_missing_value_or_one_tried_once_does_not_change_the_verdict_on_the_best(odd):
    rng = np.random.default_rng(0)
    params = [{"x": "abc"[i % 3]} for i in range(90)]
    curves = [[{"a": 0.6, "b": 0.4, "c": 0.3}[p["x"]] + rng.normal() * 0.05] for p in params]
    table = check_claims(study_of(params + odd, curves + [[0.99]] * len(odd)), [parse("x=a best"), parse("x=c best")])
    assert table["verdict"].tolist() == ["supported", "contradicted"]
    rare = [str(one["x"]) for one in odd if isinstance(one.get("x"), str)]
    left_out = f"; left out, with fewer than 5 trials: {', '.join(rare)}" if rare else ""
    assert table.loc[0, "note"] == f"against b{left_out}"


def test_best_against_rare_values_only_is_undecided():
    params = [{"x": "a"}] * 20 + [{"x": "b"}, {"x": "c"}]
    row = check_claims(study_of(params, [[0.5]] * 22), [parse("x=a best")]).iloc[0]
    assert row["verdict"] == "undecided"
    assert row["note"] == "left out, with fewer than 5 trials: b, c"


def test_a_row_has_effect_interval_trials_and_budget():
    row = check_claims(study(), [parse("good=True > False")]).iloc[0]
    assert row["low"] < 0.1 < row["high"]
    assert row["trials"] + row["rival_trials"] == 120
    assert row["epochs"] == 3
    assert check_claims(study(), [parse("good=True > False")], epochs=1).iloc[0]["epochs"] == 1


def test_claims_checked_together_are_corrected_together():
    one = check_claims(study(), [parse("idle=a > b")]).iloc[0]["p_holm"]
    ten = check_claims(study(), [parse("idle=a > b")] * 10).iloc[0]["p_holm"]
    assert ten == pytest.approx(min(10 * one, 1.0))


@pytest.mark.slow
def test_false_verdicts_are_rare_if_nothing_has_an_effect():
    texts = ["good=True > False", "rider=True > False", "idle=a > b", "idle=c best"]
    wrong = sum(verdicts(study(60, seed, effect=0.0), *texts) != ["undecided"] * 4 for seed in range(100))
    # Of 100 sets of claims about nothing, 5 get a verdict on average; more than 11 do with a chance of 1 in 200.
    assert 1 <= wrong <= 11


def test_verdicts_on_known_networks_are_true():
    """20 searches of 60 of the 648 networks that prefer good ones; the truth is the mean over all 648 at 3 epochs."""
    networks = factorial()
    truth = {
        "learning_rate=0.001 > 0.0001": True, "filter_org in (1, 2) > 0.5": True, "conv_layers=4 > (2, 3)": False,
        "batch_norm=True > False": True, "conv_layers=2 best": True,
        "first_layer_filters=8 & filter_org=0.5 poor": True,
    }  # fmt: skip
    rng = np.random.default_rng(0)
    odds = np.exp(3 * networks["9"])
    decided = []
    for _ in range(20):
        drawn = networks.iloc[rng.choice(len(networks), 60, replace=False, p=odds / odds.sum())]
        table = check_claims(known_study(drawn, 3), [parse(text) for text in truth])
        known = table[table["verdict"].isin(["supported", "contradicted"])]
        decided += [(row.verdict == "supported") == truth[row.claim] for row in known.itertuples()]
    assert len(decided) > 30  # a quarter of 120
    assert np.mean(decided) > 0.97


def test_an_error_lists_a_few_of_many_values():
    data = study_of([{"lr": 10.0 ** (-i / 9)} for i in range(40)], [[0.5]] * 40)
    with pytest.raises(ClaimError, match="no trial has lr=7; choose from .* and 28 more$"):
        check_claims(data, [parse("lr=7 best")])


def test_few_trials_are_undecided():
    table = check_claims(study(8), [parse("good=True > False")])
    assert table["verdict"].tolist() == ["undecided"]
    assert "fewer than 5 trials" in table.loc[0, "note"]
    middling = check_claims(study(14, 3, effect=0.3), [parse("good=True > False")]).iloc[0]
    assert middling["note"] == "not adjusted: too few trials to hold the other hyperparameters fixed"


def test_a_constant_metric_is_undecided():
    data = study_of([{"x": i % 2} for i in range(40)], [[0.5, 0.5]] * 40)
    assert verdicts(data, "x=1 > 0", "x=1 best") == ["undecided", "undecided"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("speed=1 > 2", "speed is not a hyperparameter that varied; choose from good, rider, idle"),
        ("idle=z > a", "no trial has idle=z; choose from a, b, c"),
        ("idle in (a, b) > (b, c)", "trials are in both groups; name groups that do not overlap"),
    ],
)
def test_a_claim_about_something_that_did_not_vary_is_refused_or_not_testable(text, message):
    with pytest.raises(ClaimError, match=message):
        check_claims(study(), [parse(text)])
    table = check_claims(study(), [parse(text), parse("good=True > False")], lenient=True)
    assert table["verdict"].tolist() == ["not testable", "supported"]
    assert message in table.loc[0, "note"]


@pytest.mark.parametrize("text", ["good", "x >", "> 3", "a=1 better", "a in (1,2) best", "a=() > 3", "a==1 > 2", ""])
def test_text_that_is_not_a_claim_is_refused(text):
    with pytest.raises(ClaimError, match="claim"):
        parse(text)


def test_an_error_in_a_file_of_claims_names_the_line(tmp_path):
    path = tmp_path / "claims.txt"
    path.write_text("# mine\n\nx=1 > x=2  # why\nnonsense\n")
    with pytest.raises(ClaimError, match=r"claims.txt line 4: claim 'nonsense'"):
        read_claims(path)
    path.write_text("# mine\n\nx=1 > x=2  # why\n")
    assert [claim.text for claim in read_claims(path)] == ["x=1 > x=2"]


def test_the_takeaways_use_the_values_of_the_studys_space():
    assert [len(read_claims(path)) for path in sorted(TAKEAWAYS.glob("*.txt"))] == [10, 10]
    rows = factorial().iloc[::20]
    assert published_takeaways(known_study(rows))[0].text == "first_layer_filters in (16, 32) > 8"
    wide = rows.assign(first_layer_filters=rows["first_layer_filters"] * 4, conv_layers=rows["conv_layers"] + 1)
    assert published_takeaways(known_study(wide))[0].text == "first_layer_filters in (64, 128) > 32"


def test_unsteady_losses_are_compared_over_complete_curves():
    rng = np.random.default_rng(0)
    curves = []
    for i in range(60):
        steady = np.linspace(0.3, 0.8, 9) + rng.normal(scale=0.01)
        curves.append((steady if i % 2 else steady - 0.2 - 0.1 * (np.arange(9) % 2)).tolist())
    data = study_of([{"x": i % 3} for i in range(60)], curves)
    table = check_claims(data, [parse("unsteady_val_loss=True < unsteady_val_loss=False")])
    assert table.loc[0, "verdict"] == "supported"
    assert table.loc[0, "epochs"] == 9
    with pytest.raises(ClaimError, match="needs 20 trials with validation losses for 5 or more epochs"):
        check_claims(study(epochs=3), [parse("unsteady_val_loss=True < False")])


def test_an_undecided_claim_comes_with_the_effect_that_such_a_study_finds():
    """In simulated studies with a true effect of that size, the claim is supported in about 80 % of cases."""
    claim = parse("good=True > good=False")

    def study(seed: int, effect: float):
        random = np.random.default_rng(seed)
        good = np.arange(40) % 2 == 0
        accuracy = 0.5 + effect * good + random.normal(scale=0.05, size=40)
        return study_of([{"good": bool(g)} for g in good], [[a] for a in accuracy])

    undecided = [check_claims(study(seed, 0.0), [claim]).iloc[0] for seed in range(12)]
    sizes = [row["detectable"] for row in undecided if row["verdict"] == "undecided"]
    assert len(sizes) >= 9
    size = np.mean(sizes)
    assert size == pytest.approx(2.87 * 0.05 * (2 / 20) ** 0.5, rel=0.15)  # 2.87 = t(38) at 0.975 and 0.8
    found = [check_claims(study(seed, size), [claim]).iloc[0] for seed in range(100, 150)]
    supported = [row for row in found if row["verdict"] == "supported"]
    assert 0.66 <= len(supported) / 50 <= 0.94
    assert all(np.isnan(row["detectable"]) for row in supported)


def test_more_claims_need_larger_effects():
    effect = Effect(0.01, -0.01, 0.03, 0.3, 40)
    assert effect.detectable(10) > 1.2 * effect.detectable()
    assert (-effect).detectable() == effect.detectable()
