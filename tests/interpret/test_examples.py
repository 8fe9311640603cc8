import numpy as np
import pytest
import torch
from PIL import Image

from inat.data.datamodule import ImageDataModule
from inat.errors import DataError
from inat.interpret.examples import Source, as_input, example, test_split
from inat.training.inference import open_model
from tests.conftest import write_image

test_split.__test__ = False


def test_the_test_split_is_that_of_the_configuration_unless_data_says_otherwise(image_model, image_tree, tmp_path):
    model = open_model(image_model)
    assert len(test_split(model, Source(model=image_model))) == 22
    moved = tmp_path / "moved"
    (tmp_path / "photos").rename(moved)
    with pytest.raises(DataError, match=r"photos does not exist; pass --data FOLDER"):
        test_split(model, Source(model=image_model, cache_dir=tmp_path / "another"))
    split = test_split(model, Source(model=image_model, data=str(moved), cache_dir=tmp_path / "new"))
    assert len(split) == 22
    assert len(list((tmp_path / "new").glob("moved-val-*-16px"))) == 1


def test_photographs_of_other_classes_are_refused(image_model):
    with pytest.raises(DataError, match=r"digits has the classes 0, 1, .* but the model was trained on bird, fish"):
        test_split(open_model(image_model), Source(model=image_model, data="digits"))


def test_the_example_is_a_test_photograph_from_the_seed(digits_model):
    model = open_model(digits_model)
    seen = [example(model, Source(model=digits_model, seed=seed), None) for seed in (0, 0, 1)]
    assert seen[0].name == seen[1].name != seen[2].name
    place = int(seen[0].name.removeprefix("test photo "))
    data = ImageDataModule(model.checkpoint.config.data, 64)
    row = data.splits.test.rows[place]
    assert np.array_equal(seen[0].image, data.splits.test.images[row])
    assert seen[0].label == str(data.splits.test.labels[row])


def test_a_photo_is_read_and_seen_as_in_the_evaluation(digits_model, tmp_path):
    model = open_model(digits_model)
    seen = example(model, Source(model=digits_model), None)
    Image.fromarray(seen.image).save(tmp_path / "x.png")
    mine = example(model, Source(model=digits_model), tmp_path / "x.png")
    assert (mine.name, mine.label) == ("x.png", "")
    assert np.array_equal(mine.image, seen.image)
    data = ImageDataModule(model.checkpoint.config.data, 360)
    (batch,) = data.evaluation_loader("test")
    place = int(seen.name.removeprefix("test photo "))
    assert torch.equal(as_input(model, mine), data.on_after_batch_transfer(batch)[0][place])


def test_a_photo_that_cannot_be_read_is_a_sentence(digits_model, tmp_path):
    model, source = open_model(digits_model), Source(model=digits_model)
    (tmp_path / "bad.jpg").write_bytes(b"no photograph")
    write_image(tmp_path / "good.jpg")
    for name, reason in (("bad.jpg", "cannot identify image file"), ("no.jpg", "No such file or directory")):
        with pytest.raises(DataError, match=rf"cannot read .*{name} \({reason}\); pass another --photo"):
            example(model, source, tmp_path / name)
    assert example(model, source, tmp_path / "good.jpg").image.shape == (16, 16, 3)
