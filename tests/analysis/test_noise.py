import json
import math
from base64 import b64encode
from dataclasses import replace

import numpy as np
import pytest

from analysis.kept_scores import kept_scores
from analysis.noise import Scored, compare_with_best
from analysis.objective import BALANCED_ACCURACY, LOSS, MACRO_F1, TOP2
from analysis.readers.answers import Answers, TrainingAnswers
from analysis.report.headline import best_trial, cheaper_fact
from analysis.report.key_findings import trials_like_the_best
from analysis.report.sections.noise import noise_section
from analysis.schema import ANSWERS_JSON
from analysis.stats.paired_scores import compare_scores
from analysis.stats.pairs import compare_pairs
from analysis.stats.resampling import holm
from analysis.study import load_study
from analysis.study_noise import noise_of, why_not_compared
from tests.analysis.studies import study_of


def answers_of(*rights: np.ndarray, splits: str = "abc") -> Answers:
    """The answers (N,) of each training of a trial, with one epoch."""
    return Answers(
        tuple(
            TrainingAnswers(number, split, (1,), 1, right[None])
            for number, (split, right) in enumerate(zip(splits, rights, strict=False), start=1)
        )
    )


def scored(name: str, *rights: np.ndarray, kept: bool = True, splits: str = "abc") -> Scored:
    answers = answers_of(*rights, splits=splits)
    return Scored(name, answers.value, len(rights), answers if kept else None)


def shifted(right: np.ndarray, lost: int, won: int) -> np.ndarray:
    """Answers of which some right ones are lost and some wrong ones won."""
    changed = right.copy()
    changed[np.flatnonzero(right)[:lost]] = False
    changed[np.flatnonzero(~right)[:won]] = True
    return changed


BEST = np.arange(300) < 240


def test_kept_answers_are_compared_photo_by_photo_and_others_by_their_accuracy():
    near, far = shifted(BEST, 6, 0), shifted(BEST, 40, 10)
    others = [scored("near", near), scored("far", far), scored("unkept", near, kept=False)]
    noise = compare_with_best(scored("best", BEST), others)
    assert noise.table["paired"].tolist() == [True, True, False]
    paired = [compare_pairs(BEST, near), compare_pairs(BEST, far)]
    assert noise.table["difference"].tolist() == pytest.approx([0.02, 0.1, 0.02])
    assert noise.table.loc[0, ["low", "high"]].tolist() == paired[0]["difference_interval"]
    pooled = 474 / 600  # by hand: the pooled z test of 240 and 234 in 300
    z = 0.02 / math.sqrt(pooled * (1 - pooled) * 2 / 300)
    expected = holm([paired[0]["p_value"], paired[1]["p_value"], math.erfc(z / math.sqrt(2))])
    assert noise.table["p_holm"].tolist() == pytest.approx(expected)
    assert noise.untold == ["near", "unkept"]
    assert noise.images == 300
    assert noise.standard_error == pytest.approx((0.8 * 0.2 / 300) ** 0.5)
    assert noise.describe().startswith(
        "2 of 3 other trials cannot be told from the best one on 300 validation photos; 2 compared photo by photo, 1 "
        "by accuracy alone, where a difference of 0.0"
    )


@pytest.mark.parametrize(
    "other",
    [
        scored("other", BEST, splits="z"),  # of other images
        Scored("other", 0.5, answers=answers_of(BEST)),  # of another epoch than the score
        Scored("other", 0.8, 2, answers_of(BEST, BEST, splits="aa")),  # repeats would count images twice
    ],
    ids=["other images", "other epoch", "repeats"],
)
def test_answers_that_do_not_fit_are_not_compared_photo_by_photo(other):
    noise = compare_with_best(scored("best", BEST), [other])
    assert noise.table["paired"].tolist() == [False]


def test_folds_are_compared_on_the_images_of_those_that_both_trials_ended():
    first, second = BEST[:150], BEST[150:]
    worse = shifted(first, 20, 0)
    whole = compare_with_best(scored("best", first, second), [scored("o", worse, second)], folds=2)
    assert whole.images == 300
    assert whole.table["difference"].tolist() == pytest.approx([20 / 300])
    stopped = compare_with_best(scored("best", first, second), [scored("o", worse)], folds=2)
    assert stopped.table["paired"].tolist() == [True]
    assert stopped.table["difference"].tolist() == pytest.approx([20 / 150])


def test_without_the_number_of_images_or_another_trial_nothing_is_said():
    best, other = scored("best", BEST, kept=False), scored("other", BEST, kept=False)
    assert compare_with_best(best, [other]) is None
    assert compare_with_best(best, [], 300) is None
    assert compare_with_best(Scored("best", 93.1), [other], 300) is None  # in percent
    assert not compare_with_best(best, [other], 300).table["paired"].any()


def test_the_truly_best_trial_is_among_those_that_cannot_be_told_apart():
    """In 40 simulated studies of 8 trials; a fixed distance of 0.005 often loses it."""
    holds = near = 0
    for seed in range(40):
        random = np.random.default_rng(seed)
        true = 0.7 + 0.02 * random.standard_normal(8)
        rights = random.random((8, 300)) < true[:, None]
        best, *others = sorted(
            (scored(str(trial), right, kept=trial < 4) for trial, right in enumerate(rights)),
            key=lambda trial: -trial.value,
        )
        truly = str(true.argmax())
        holds += truly in {best.trial_id, *compare_with_best(best, others, 300).untold}
        near += truly in {trial.trial_id for trial in (best, *others) if trial.value >= best.value - 0.005}
    assert holds >= 38
    assert near < 28


def write_study(directory, values: list[float], rights: list[np.ndarray], last: np.ndarray | None = None):
    """A study directory with answers of the first trials, and of a last training."""
    study = study_of([{"a": i} for i in range(len(values))], [[value] for value in values])
    study.trials.to_csv(directory / "trials.csv", index=False)
    study.history.to_csv(directory / "history.csv", index=False)
    counts = {"train": [500, 500], "val": [150, 150], "test": [50, 50]}
    (directory / "study.json").write_text(json.dumps({"config": {}, "class_counts": counts}))
    for number, right in enumerate(rights):
        write_answers(directory / "checkpoints" / f"t{number:04d}", right)
    if last is not None:
        write_answers(directory / "last" / "checkpoints" / "t0000", last)
        content = {"trial_id": "t0000", "last_training": True, "best_val_acc": float(last.mean()), "epochs": 9}
        (directory / "best.json").write_text(json.dumps(content))
    return load_study(directory)


def write_answers(folder, right: np.ndarray) -> None:
    folder.mkdir(parents=True)
    bits = b64encode(np.packbits(right)).decode()
    training = {"training": 1, "images": len(right), "split": "a", "epochs": [1], "right": [bits], "best_epoch": 1}
    (folder / ANSWERS_JSON).write_text(json.dumps({"format": 1, "trainings": [training]}))


def found(study, directory):
    path = directory / "best.json"
    best_json = json.loads(path.read_text()) if path.exists() else {}
    return noise_of(study, best_json, best_trial(study, best_json))


def test_a_study_directory_is_compared_with_its_best_trial(tmp_path):
    study = write_study(tmp_path, [0.8, 0.78, 0.5], [BEST, shifted(BEST, 9, 3)])
    noise = found(study, tmp_path)
    assert noise.best == "t0000"
    assert noise.table["paired"].tolist() == [True, False]
    assert noise.untold == ["t0001"]
    sentence = trials_like_the_best(study, {})[0]
    assert sentence == f"The best trial may be the best by chance ({noise.describe()})."


def test_a_last_training_is_compared_with_all_trials_of_the_search(tmp_path):
    last = shifted(BEST, 0, 30)
    study = write_study(tmp_path, [0.8, 0.5], [BEST], last)
    noise = found(study, tmp_path)
    assert noise.value == pytest.approx(0.9)
    assert noise.table["trial_id"].tolist() == ["t0000", "t0001"]
    assert noise.table["paired"].tolist() == [True, False]
    assert not noise.untold
    assert "larger than chance" in trials_like_the_best(study, json.loads((tmp_path / "best.json").read_text()))[0]


def test_trials_with_less_training_are_counted_beside_the_lead(tmp_path):
    study = write_study(tmp_path, [0.8, 0.5, 0.4], [])
    shorter = study.trials.assign(epochs=[3, 3, 1])
    sentence = trials_like_the_best(replace(study, trials=shorter), {})[0]
    assert sentence.endswith("; 1 of them trained for fewer epochs, which is a part of it).")
    equal = study.trials.assign(epochs=[3, 3, 3])
    assert "a part of it" not in trials_like_the_best(replace(study, trials=equal), {})[0]


def full_answers(seed: int, right: float) -> tuple[Answers, np.ndarray]:
    """Answers of one training that hold what every metric needs, and its labels."""
    random = np.random.default_rng(seed)
    labels = np.random.default_rng(0).integers(4, size=400)
    predicted = np.where(random.random(400) < right, labels, random.integers(4, size=400))
    losses = (random.random(400) + 1 - right).astype(np.float32)
    hits = labels == predicted
    two = hits | (random.random(400) < 0.5)
    return Answers((TrainingAnswers(1, "a", (1,), 1, hits[None], labels, predicted, two, losses),)), labels


@pytest.mark.parametrize("objective", [BALANCED_ACCURACY, MACRO_F1, LOSS])
def test_other_metrics_are_compared_by_swaps_and_only_where_answers_are_kept(objective):
    def trial(name, seed, right, kept=True):
        answers = full_answers(seed, right)[0]
        (score,) = kept_scores([answers.trainings], objective)
        return Scored(name, score.value, answers=answers if kept else None)

    best, others = trial("best", 1, 0.8), [trial("near", 2, 0.79), trial("far", 3, 0.5), trial("unkept", 4, 0.6, False)]
    noise = compare_with_best(best, others, objective=objective)
    assert noise.table["trial_id"].tolist() == ["near", "far"]
    assert noise.table["difference"].tolist() == pytest.approx([best.value - other.value for other in others[:2]])
    assert noise.untold == ["near"]
    pairs = [kept_scores([best.answers.trainings, other.answers.trainings], objective) for other in others[:2]]
    p_values = [compare_scores(*pair)["p_value"] for pair in pairs]
    assert noise.table["p_holm"].tolist() == pytest.approx(holm([min(1, 1.5 * p) for p in p_values]))  # of three pairs
    assert (noise.left_out, noise.images, noise.objective) == (1, 400, objective)
    assert 0.005 < noise.standard_error < 0.05
    assert noise.detectable == pytest.approx(2.8016 * (noise.table["high"] - noise.table["low"])[0] / 3.92, rel=0.1)
    text = noise.describe()
    assert text.startswith(
        "1 of 2 other trials with kept answers cannot be told from the best one on 400 validation photos; compared "
        f"photo by photo by {objective.short}, where a difference of 0.0"
    )
    assert text.endswith("; 1 trial without them is not compared")
    assert noise.to_json() | {"standard_error": 0, "detectable_difference": 0} == {
        "metric": objective.name, "compared": 2, "not_told_apart": 1, "paired": 2, "not_compared": 1, "images": 400,
        "standard_error": 0, "detectable_difference": 0, "trial_ids": ["near"],
    }  # fmt: skip
    bare = scored("bare", BEST)  # which photos are right, as in studies of earlier versions
    assert compare_with_best(bare, [scored("other", BEST)], objective=objective) is None


def test_the_top_two_accuracy_is_compared_as_a_share():
    first, second = full_answers(1, 0.8)[0], full_answers(2, 0.4)[0]
    values = [float(answers.trainings[0].in_two.mean()) for answers in (first, second)]
    best, other = Scored("best", values[0], answers=first), Scored("other", values[1], answers=second)
    noise = compare_with_best(best, [other, Scored("unkept", values[1])], objective=TOP2)
    assert noise.table["paired"].tolist() == [True, False]
    pair = compare_pairs(first.trainings[0].in_two, second.trainings[0].in_two)
    assert noise.table["difference"].tolist() == pytest.approx([pair["difference"]] * 2)
    assert noise.table.loc[0, ["low", "high"]].tolist() == pair["difference_interval"]


def test_a_loss_without_kept_losses_is_not_compared_and_the_reason_is_given(tmp_path):
    write_study(tmp_path, [0.8, 0.78], [BEST])
    study = load_study(tmp_path, "val_loss", "min")
    assert noise_of(study, {}, best_trial(study, {})) is None
    reason = (
        "The validation loss of two trials is compared by their answers to each photo, which are kept beside "
        "checkpoints; here those of the best trial or of all others are missing, as in studies of earlier versions."
    )
    assert why_not_compared(study) == reason
    (section,) = noise_section(study, tmp_path)
    assert section.items == [reason]
    assert why_not_compared(load_study(tmp_path)) == ""


def test_beside_a_cheaper_trial_the_best_one_is_compared_and_named(tmp_path):
    study = write_study(tmp_path, [0.8, 0.78, 0.5], [BEST, shifted(BEST, 9, 3)])
    best_json = {"trial_id": "t0001", "cheaper_than": {"trial_id": "t0000", "allowance": 0.02}}
    chosen = best_trial(study, best_json)
    assert (chosen["trial_id"], noise_of(study, best_json, chosen).best) == ("t0001", "t0000")
    (fact,) = cheaper_fact(study, best_json, chosen)
    assert (fact.value, fact.note) == ("t0000", "0.8000; t0001 costs less, within 0.0200 of it (--prefer-cheaper)")
    assert cheaper_fact(study, {}, best_trial(study, {})) == []
