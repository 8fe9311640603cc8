from inat.config.search import SearchConfig
from inat.tuning.best import best_model
from inat.tuning.describe_result import describe_failure, describe_result
from inat.tuning.describe_search import describe_interruption, describe_nothing_left, describe_task, resume_command
from inat.tuning.space import presets
from tests.tuning.ended_studies import study_of


def test_texts_for_one_trial_and_one_epoch(tmp_path):
    study = study_of(tmp_path / "one", ["completed"])
    settings = SearchConfig(data="digits", num_samples=1, max_epochs=1)
    task = describe_task(settings, study, presets.space_of(settings))
    assert "search  1 trial, 1 of them already ended, 1 epoch, space small" in task
    assert (
        "interrupted: 1 of 1 trial has ended, best validation accuracy 0.5000 (t0000), everything is kept"
        in describe_interruption(settings, study)
    )
    result = describe_result(study, best_model(study, study.directory), seconds=1.0)
    assert "0.5000 best validation accuracy in 1 epoch" in result
    assert "1 trials" not in task + describe_nothing_left(settings, study)
    study.close()
    failed = study_of(tmp_path / "failed", ["failed"])
    text = describe_failure(failed)
    assert f"no trial in {failed.directory} has a result; it failed with: ValueError: x; see errors/" in text
    assert text.endswith(f"to run the failed trial again, see errors/ in the study, mend the cause, then run: "
                         f"{resume_command(failed)} --retry-failed")  # fmt: skip
    failed.close()


def test_a_study_that_has_ended_says_what_continues_it(tmp_path):
    settings = SearchConfig(data="digits", num_samples=2)
    study = study_of(tmp_path / "study", ["completed", "failed"])
    text = describe_nothing_left(settings, study)
    assert "all 2 trials have ended, so nothing was left to run" in text
    assert f"raise --num-samples: {resume_command(study)} --num-samples 4" in text
    assert "to run the failed trial again" in text
    study.close()
    whole = study_of(tmp_path / "grid", ["completed"], grid=[{"dropout": 0.2}])
    text = describe_nothing_left(settings, whole)
    assert "the only trial has ended, so nothing was left to run; the whole grid has been tried" in text
    assert "--retry-failed" not in text
    whole.close()
