from inat.config.finetune import FinetuneConfig
from inat.config.search import SearchConfig
from inat.study.study import Study
from inat.tuning import search
from inat.tuning.rules import RULES, new_rules, rule_settings

NEW = {RULES: new_rules()}


def test_a_study_of_an_earlier_version_keeps_its_rules():
    assert rule_settings(SearchConfig(data="digits"), {}) == {"ema_statistics": "averaged"}
    known = {RULES: {"precision_rule": "measured"}}
    assert rule_settings(FinetuneConfig(data="digits", image_size=64), known) == {
        "precision_rule": "measured",
        "ema_statistics": "averaged",
    }


def test_rules_for_features_are_those_of_fine_tuning():
    assert rule_settings(SearchConfig(data="digits"), NEW) == {
        "precision_rule": "measured",
        "ema_statistics": "measured",
    }
    both = rule_settings(FinetuneConfig(data="digits", image_size=64), NEW)
    assert both == {"precision_rule": "measured", "feature_rules": 3, "ema_statistics": "measured"}


def test_a_new_study_records_its_rules_and_an_edit_is_noticed(tmp_path):
    config = SearchConfig(data="digits", image_size=16, num_samples=1, storage_path=tmp_path, name="study")
    study, _ = search.open_study(config)
    study.add_trial({})
    study.close()
    reopened = Study.open(tmp_path / "study")
    assert reopened.info[RULES] == new_rules()
    assert "rules" in reopened.info["digests"]
    reopened.close()
