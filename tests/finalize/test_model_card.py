import copy

import pytest
from markdown_it import MarkdownIt

from inat.finalize.model_card import model_card


@pytest.fixture
def metrics() -> dict:
    run = {"run": "t0000", "seed": 1, "best_val_acc": 0.5, "best_epoch": 2, "epochs": 3, "seconds": 1.0}
    scored = {"class": "ant", "precision": None, "recall": 0.0, "recall_interval": [0.0, 0.2], "f1": 0.0, "support": 7}
    test = {
        "images": 7, "accuracy": 0.25, "accuracy_interval": [0.1, 0.4], "interval": "95%, Wilson's",
        "top2_accuracy": 0.75, "top2_interval": [0.5, 0.9], "ece_chance": 0.05, "ece_chance_95": 0.1,
        "constant_accuracy": 0.4, "balanced_accuracy": 0.2, "macro_f1": 0.1, "loss": 1.5, "ece": 0.125, "ece_bins": 10,
        "mean_confidence": 0.9, "per_class": [scored], "evaluations": 1, "arithmetic": "bf16-mixed",
        "confusions": [{"true": "ant", "predicted": "bee", "images": 5, "of": 7}],
    }  # fmt: skip
    candidate = {"trial_id": "t0003", "name": "net|1", "search_val_acc": 0.6, "mean": 0.5, "sd": None, "n": 1,
                 "runs": [run]}  # fmt: skip
    failed = candidate | {"trial_id": "t0001", "name": "other", "mean": None, "n": 0, "runs": []}
    return {
        "objective": {"label": "validation accuracy", "best_column": "best_val_acc", "search_column": "search_val_acc"},
        "licence": None, "seeds": 1, "rule": "The best mean wins.", "shipped": None, "test": test,
        "evaluations_in_words": "Evaluated once.", "candidates": [candidate, failed], "search": {"trials": 9},
        "winner": {"trial_id": "t0003", "name": "net", "n": 1, "in_words": ["It wins.", "It shrank."]},
        "model": run | {"config": {"activation": "relu"}, "sha256": "abc"},
        "data": {"source": "photos", "fingerprint": "f00", "classes": ["ant", "bee"], "image_size": 16,
        "resize": "resize photos to 16 x 16 px, bilinear",
                 "splits": {"train": 1000, "validation": 20, "test": 7}},
        "exports": {"files": ["model.onnx"], "input": "images", "output": "probabilities", "compared_images": 7,
                    "tolerance": 1e-4, "largest_difference": {"onnx": 2e-7}},
    }  # fmt: skip


def test_the_card_states_what_a_user_must_know(metrics):
    card = model_card(metrics)
    for part in (
        "Test accuracy **0.2500**", "`f00`", "1,000 images", "activation | relu", "Evaluated once.", "It shrank.",
        "ant predicted as bee: 5 of 7 images", "overconfident", "Expected calibration error 0.1250", "bf16-mixed",
        "| ant | - | 0.0000 | 0.0000 to 0.2000 | 0.0000 | 7 |", "largest difference of a probability is onnx 2.0e-07",
        "Licence: not stated", "| t0001 other | 0.6000 | - | - | 0 |  |", "SHA-256 `abc`",
    ):  # fmt: skip
        assert part in card, part
    assert r"**t0003 net\|1**" in card  # a bare | would end the table cell
    assert "ImageNet" not in card
    assert "shipped" not in card


def test_optional_parts_appear_only_if_they_apply(metrics):
    changed = copy.deepcopy(metrics) | {"licence": "CC BY 4.0", "shipped": {"in_words": "Another model."}}
    changed["model"]["config"] = {"backbone": "resnet50", "weights": "imagenet"}
    changed["test"] |= {"confusions": [], "mean_confidence": 0.1}
    card = model_card(changed)
    for part in ("Licence: CC BY 4.0", "Another model.", "ImageNet weights of resnet50", "None in the test split",
                 "underconfident"):  # fmt: skip
        assert part in card
    changed["model"]["config"]["weights"] = "none"
    assert "ImageNet" not in model_card(changed)


def test_the_ensemble_has_a_section_if_one_was_chosen(metrics):
    assert "## Ensemble" not in model_card(metrics)
    member = {"file": "t0004.ckpt", "trial_id": "t0003", "name": "net|1", "seed": 2, "weight": 0.25, "image_size": 64,
              "parameters": 12345}  # fmt: skip
    metrics["ensemble"] = {"in_words": ["It has 0.9.", "It is optimistic."], "members": [member]}
    card = model_card(metrics)
    assert r"| t0004.ckpt | t0003 net\|1 | 2 | 0.2500 | 64 px | 12,345 |" in card
    assert "It has 0.9.\n\nIt is optimistic.\n" in card
    assert "PHOTO... --ensemble` predicts" in card
    metrics["model"]["config"] = {"model": "my_net.py:build", "model_sha256": "abc"}
    assert "--ensemble --model my_net.py`" in model_card(metrics)
    metrics["ensemble"] = {"in_words": ["No ensemble."], "members": []}
    assert "No ensemble." in model_card(metrics)
    assert "--ensemble" not in model_card(metrics)


@pytest.mark.parametrize(
    "name", ["<img src=x onerror=alert(1)>", "[a](http://b)", "a|b", "# a", "`a`", "a\nb", "\x1b[31m\u202ea"]
)
def test_names_of_classes_trials_and_folders_are_no_markup(metrics, name):
    metrics["data"] |= {"classes": [name, "bee"], "source": name}
    metrics["winner"]["name"] = metrics["candidates"][0]["name"] = name
    metrics["test"]["per_class"][0]["class"] = metrics["test"]["confusions"][0]["true"] = name
    metrics["model"]["config"] = {"activation": name}
    html = MarkdownIt("gfm-like", {"linkify": False}).render(model_card(metrics))
    assert "<img" not in html
    assert "<a " not in html
    assert not {"\x1b", "\u202e"} & set(html)
    assert html.count("<h1>") == 1
    assert [line.count(" | ") for line in model_card(metrics).splitlines() if line.startswith("| activation")] == [1]


def test_the_time_for_one_image_is_stated_where_it_was_measured(metrics):
    latency = {"file": "model.onnx", "runtime": "onnxruntime 1.32.0", "batch": 1, "runs": 200, "median_ms": 0.3,
               "quartiles_ms": [0.28, 0.32], "threads": 2, "processor": "AMD EPYC"}  # fmt: skip
    assert "time on the machine" not in model_card(metrics)  # exports of earlier versions
    metrics["exports"]["latency"] = latency
    assert "time on the machine of the export: 0.3 ms per image (half of 200 runs: 0.28 to 0.32)" in model_card(metrics)


def test_a_single_configuration_trial_or_run_is_no_plural(metrics):
    assert "The candidates are the 2 best configurations of a search of 9 trials, each retrained" in model_card(metrics)
    metrics["candidates"] = metrics["candidates"][:1]
    metrics["search"]["trials"] = metrics["seeds"] = metrics["winner"]["n"] = 1
    card = model_card(metrics)
    assert "The candidate is the best configuration of a search of 1 trial, retrained with seed 1." in card
    assert "is that of its only run." in card
