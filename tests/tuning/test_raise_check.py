import pytest
from ray import tune

from inat.cli import parse_search
from inat.config.finetune import FinetuneConfig
from inat.config.search import SearchConfig
from inat.errors import ConfigError
from inat.study.study import Study
from inat.tuning import search
from inat.tuning.own_model import allow_own_model
from inat.tuning.raise_check import check_raise
from inat.tuning.space.presets import space_of

SHORT = {"data": "digits", "image_size": 16, "max_epochs": 3}


def info_of(**options) -> dict:
    return {"config": SearchConfig(**SHORT | options).to_json()}


def longer(kind=SearchConfig, **options):
    return kind(**SHORT | options | {"max_epochs": 9, "resume": "results/S"})


@pytest.mark.parametrize("space", ["small", "full"])
def test_a_step_schedule_may_train_longer(space):
    config = longer(space=space, image_size=32)
    check_raise(info_of(), config, space_of(config))


def test_the_published_recipe_of_finetuning_may_train_longer():
    config = longer(FinetuneConfig, recipe="published", image_size=224)
    check_raise(info_of(), config, space_of(config))


def test_the_same_maximum_is_no_raise():
    check_raise(info_of(folds=3), SearchConfig(**SHORT, folds=3), {"schedule": tune.choice(["cosine"])})


@pytest.mark.parametrize(
    ("info", "options", "space", "reason"),
    [({}, {}, {"schedule": tune.choice(["step", "cosine"])},
      "the cosine schedule ends with the last epoch, so a longer training differs from its start on"),
     ({}, {}, {"schedule": tune.choice(["trapezoid"])}, "the trapezoid schedule ends with the last epoch"),
     ({}, {}, {"strategy": tune.choice(["freeze_all", "lp_ft"])}, "lp_ft trains the head for a share of the epochs"),
     ({}, {"folds": 3}, {}, "with folds or repeats, the next training of a trial begins where the one before"),
     ({}, {"repeats": 2}, {}, "with folds or repeats"),
     ({"time_plan": {"trials": 3}}, {}, {}, "its time budget has planned the epochs"),
     ({"race": {"chosen": []}}, {}, {}, "the race has chosen its backbones for these epochs"),
     ({"own_objective": "score"}, {}, {}, "the objective score decides itself how long a trial is")],
)  # fmt: skip
def test_other_studies_refuse_with_the_reason_and_the_way_on(info, options, space, reason):
    with pytest.raises(ConfigError) as error:
        check_raise(info_of() | info, longer(**options), space)
    text = str(error.value)
    assert text.startswith(f"max_epochs 9 cannot follow the study's 3: {reason}")
    assert text.endswith("start a new study; --learn-from results/S takes its best configurations over")


def test_a_searcher_that_does_not_learn_is_not_told_to(tmp_path):
    with pytest.raises(ConfigError, match="or start a new study$"):
        check_raise(info_of(), longer(searcher="random"), {"schedule": tune.choice(["cosine"])})


def test_a_lightning_module_may_have_a_schedule_of_its_own(tmp_path):
    file = tmp_path / "net.py"
    file.write_text("import pytorch_lightning as pl\nclass Net(pl.LightningModule):\n    pass\n")
    config = longer(model=f"{file}:Net")
    allow_own_model(config)
    with pytest.raises(ConfigError, match="the LightningModule of .*net.py:Net may have a schedule that ends with"):
        check_raise(info_of(), config, {})


def test_a_smaller_maximum_is_refused_and_a_larger_one_parsed(tmp_path):
    Study.create(tmp_path / "S", {"search": "scratch", **info_of()}).close()
    arguments = ["--resume", str(tmp_path / "S"), "--max-epochs"]
    with pytest.raises(ConfigError, match="--max-epochs 2 differs from the study's 3; leave it out or start a new"):
        parse_search(SearchConfig, "", [*arguments, "2"])
    assert parse_search(SearchConfig, "", [*arguments, "9"]).max_epochs == 9


def test_a_search_that_is_refused_leaves_the_study_as_it_was(tmp_path):
    config = SearchConfig(**SHORT, storage_path=tmp_path, name="S", folds=2)
    study, _ = search.open_study(config)
    study.add_trial({"x": 1})
    study.close()
    before = (study.directory / "study.json").read_text()
    with pytest.raises(ConfigError, match="max_epochs 9 cannot follow"):
        search.open_study(SearchConfig(**SHORT | {"max_epochs": 9}, folds=2, resume=study.directory))
    assert (study.directory / "study.json").read_text() == before
    Study.open(study.directory).close()  # the lock is free
