from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from inat.data.datamodule import ImageDataModule
from inat.errors import DataError, StudyError
from inat.interpret.examples import InterpretOptions, load_example, network_input, sharpened, test_split
from inat.training.inference import open_model
from tests.conftest import write_image

test_split.__test__ = False


def test_the_test_split_comes_from_the_configuration_unless_data_is_given(image_model, image_tree, tmp_path):
    model = open_model(image_model)
    assert len(test_split(model, InterpretOptions(model=image_model, cache_dir=tmp_path / "cache"))) == 22
    moved = tmp_path / "moved"
    (tmp_path / "photos").rename(moved)
    with pytest.raises(DataError, match=r"photos does not exist; pass --data FOLDER"):
        test_split(model, InterpretOptions(model=image_model, cache_dir=tmp_path / "another"))
    split = test_split(model, InterpretOptions(model=image_model, data=str(moved), cache_dir=tmp_path / "new"))
    assert len(split) == 22
    assert len(list((tmp_path / "new").glob("moved-val-*-16px"))) == 1


def test_a_folder_that_only_the_checkpoint_names_is_not_written_to(image_model, tmp_path, monkeypatch):
    monkeypatch.setattr("inat.interpret.examples.CACHE_DIR", tmp_path / "mine")
    checkpoint = torch.load(image_model, weights_only=True)
    hostile = tmp_path / "theirs"
    checkpoint["trial_params"]["cache_dir"] = str(hostile)
    torch.save(checkpoint, image_model)
    with pytest.raises(StudyError, match=rf"used only if you name them, too; add --cache-dir {hostile}"):
        test_split(open_model(image_model), InterpretOptions(model=image_model))
    checkpoint["trial_params"]["cache_dir"] = "/home/somebody/.cache/inat"  # the default of another user
    torch.save(checkpoint, image_model)
    assert len(test_split(open_model(image_model), InterpretOptions(model=image_model))) == 22
    assert (tmp_path / "mine").exists()
    assert not hostile.exists()


def test_images_of_other_classes_are_refused(image_model):
    with pytest.raises(DataError, match=r"digits has the classes 0, 1, .* but the model was trained on bird, fish"):
        test_split(open_model(image_model), InterpretOptions(model=image_model, data="digits"))


def test_the_default_example_is_a_test_image_chosen_by_the_seed(digits_model):
    model = open_model(digits_model)
    examples = [load_example(model, InterpretOptions(model=digits_model, seed=seed), None) for seed in (0, 0, 1)]
    assert examples[0].name == examples[1].name != examples[2].name
    row = int(examples[0].name.removeprefix("scan "))
    data = ImageDataModule(model.checkpoint.config.data, 64)
    assert row in data.splits.test.rows
    assert np.array_equal(examples[0].image, data.splits.test.images[row])
    assert examples[0].label == str(data.splits.test.labels[row])


def test_an_image_file_becomes_the_same_input_as_in_the_evaluation(digits_model, tmp_path):
    model = open_model(digits_model)
    expected = load_example(model, InterpretOptions(model=digits_model), None)
    Image.fromarray(expected.image).save(tmp_path / "x.png")
    example = load_example(model, InterpretOptions(model=digits_model), tmp_path / "x.png")
    assert (example.name, example.label) == ("x.png", "")
    assert np.array_equal(example.shown, expected.shown)  # a file of 16 px has no more to show
    assert np.array_equal(example.image, expected.image)
    data = ImageDataModule(model.checkpoint.config.data, 360)
    (batch,) = data.evaluation_loader("test")
    position = data.splits.test.rows.tolist().index(int(expected.name.removeprefix("scan ")))
    assert torch.equal(network_input(model, example), data.on_after_batch_transfer(batch)[0][position])


def test_an_unreadable_image_is_reported_in_one_sentence(digits_model, tmp_path):
    model, options = open_model(digits_model), InterpretOptions(model=digits_model)
    (tmp_path / "bad.jpg").write_bytes(b"no image")
    write_image(tmp_path / "good.jpg")
    for name, reason in (("bad.jpg", "cannot identify image file"), ("no.jpg", "No such file or directory")):
        with pytest.raises(DataError, match=rf"cannot read .*{name} \({reason}\); pass another --photo"):
            load_example(model, options, tmp_path / name)
    assert load_example(model, options, tmp_path / "good.jpg").image.shape == (16, 16, 3)


def test_people_see_the_same_part_of_the_photo_with_more_pixels(image_model, tmp_path):
    model = open_model(image_model)
    pixels = np.zeros((400, 200, 3), np.uint8)
    pixels[:200, :, 0] = 255
    Image.fromarray(pixels).save(tmp_path / "x.png")
    options = InterpretOptions(model=image_model, cache_dir=tmp_path / "cache")
    example = load_example(model, options, tmp_path / "x.png")
    assert (example.image.shape, example.shown.shape) == ((16, 16, 3), (320, 320, 3))
    for image in (example.image, example.shown):
        assert image[0, 0].tolist() == [255, 0, 0]
        assert image[-1, -1].tolist() == [0, 0, 0]
    crop = replace(model.form, size=16, shorter_side=20)
    assert sharpened(crop, Image.fromarray(pixels)).shape == (320, 320, 3)


def test_a_random_test_photo_has_the_name_of_its_file(image_model, tmp_path):
    options = InterpretOptions(model=image_model, cache_dir=tmp_path / "cache")
    example = load_example(open_model(image_model), options, None)
    assert example.name.startswith(f"val/{example.label}/")
    assert example.shown.shape > example.image.shape
