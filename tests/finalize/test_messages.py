from inat.finalize.messages import describe_files, describe_removal, describe_shipping, describe_which

REFIT = {"search": {"refit": True, "test": {"test_acc": 0.7339}}, "test": {"accuracy": 0.7156}}


def test_files_of_an_earlier_call_are_not_called_written(tmp_path):
    for name in ("model.ckpt", "shipped.ckpt"):
        (tmp_path / name).touch()
    assert describe_files(tmp_path, ["shipped.ckpt"]) == (
        f"written {tmp_path}: model.ckpt\nkept    shipped.ckpt: of an earlier call, and of the same model"
    )
    assert describe_files(tmp_path, []) == f"written {tmp_path}: model.ckpt, shipped.ckpt"


def test_after_a_refit_one_line_says_which_model_to_use(tmp_path):
    both = describe_which(REFIT | {"shipped": {"epochs": 9}}, tmp_path / "final")
    assert both.startswith(f"use     for new photos {tmp_path / 'final' / 'shipped.ckpt'} (")
    assert f"not measured) or {tmp_path / 'best.ckpt'} (" in both
    assert "test accuracy 0.7339); model.ckpt (test accuracy 0.7156)" in both
    assert "shipped.ckpt" not in describe_which(REFIT | {"shipped": None}, tmp_path / "final")


def test_after_another_search_the_model_is_the_one_to_use(tmp_path):
    other = {"search": {"refit": False, "test": {"test_acc": 0.7}}, "test": {"accuracy": 0.7}, "shipped": {}}
    assert describe_which(other, tmp_path) == ""


def test_the_validation_scores_of_a_shipped_model_are_said_to_measure_nothing():
    assert "the validation scores of this training, printed while it runs, measure nothing" in describe_shipping(9)


def test_a_removal_does_not_ask_for_the_option_that_was_given():
    assert describe_removal(["shipped.ckpt"], replaced=True, ship=True).endswith("is chosen; a new one follows")
    assert describe_removal(["shipped.ckpt"], replaced=True, ship=False).endswith("pass --ship to train a new one")
