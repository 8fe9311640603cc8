import pandas as pd
import pytest

from analysis.side_by_side.groups import GROUP_COLUMNS, group_labels, groups_of
from tests.analysis.studies import study_of


@pytest.mark.parametrize(("rows", "labels"), [
    ([("a", "vit", "lora"), ("a", "vit", "freeze_all")], ["lora", "freeze_all"]),
    ([("a", "vit", "lora"), ("a", "resnet50", "lora")], ["vit lora", "resnet50 lora"]),
    ([("a", "vit", "lora"), ("b", "vit", "lora")], ["a lora", "b lora"]),
    ([("a", "scratch CNN", "-"), ("b", "vit", "lora")], ["scratch CNN", "lora"]),
    ([("a", "scratch CNN", "-"), ("b", "scratch CNN", "-")], ["a scratch CNN", "b scratch CNN"]),
    ([("a", "vit", "x"), ("a", "r", "x"), ("b", "r", "x")], ["a vit x", "a r x", "b r x"]),
    ([], []),
])  # fmt: skip
def test_labels_are_as_short_as_tells_the_rows_apart(rows, labels):
    assert group_labels(pd.DataFrame(rows, columns=GROUP_COLUMNS)).tolist() == labels


def test_each_network_and_strategy_with_a_result_is_a_group():
    params = [
        {"backbone": "vit", "strategy": "freeze_partial", "k_layers": 2},
        {"backbone": "vit", "strategy": "freeze_partial", "k_layers": 3},
        {"backbone": "vit", "strategy": "lora", "k_layers": None},
        {"backbone": "vit", "strategy": "lp_ft", "k_layers": None},
    ]
    study = study_of(params, [[0.3], [0.5], [0.4], [0.6]], ["completed", "completed", "stopped", "failed"])
    groups = list(groups_of("s", study))
    assert [group.strategy for group in groups] == ["freeze_partial k=2", "freeze_partial k=3", "lora"]
    assert [group.best["trial_id"] for group in groups] == ["t0000", "t0001", "t0002"]
