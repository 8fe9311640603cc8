from pathlib import Path

import pytest

from inat.config.search import SearchConfig
from inat.data.inspect.options import InspectCommand
from inat.errors import ConfigError


def test_options_are_those_of_the_search():
    command = InspectCommand(photos="photos", image_size=64, group_by="(a)", test_fraction=0.3)
    assert command.search() == SearchConfig(data="photos", image_size=64, group_by="(a)", test_fraction=0.3)


@pytest.mark.parametrize("wrong", [{"test_fraction": 3.0}, {"group_by": "("}, {"image_size": -1}])
def test_a_wrong_value_is_refused_as_by_the_search(wrong):
    with pytest.raises(ConfigError) as own:
        InspectCommand(photos="photos", **wrong)
    with pytest.raises(ConfigError) as search:
        SearchConfig(data="photos", **wrong)
    assert str(own.value) == str(search.value)


@pytest.mark.parametrize(
    ("photos", "page"),
    [("some/birds", "birds-data.html"), ("digits", "digits-data.html"), ("torchvision:CIFAR10", "CIFAR10-data.html")],
)
def test_the_page_is_named_after_the_photos(photos, page):
    root = Path("data") if photos.startswith("torchvision:") else None
    assert InspectCommand(photos=photos, root=root).page == Path(page)


def test_the_next_command_has_the_options_that_were_given():
    command = InspectCommand(photos="my photos", image_size=64, keep_duplicates=True, output=Path("x.html"))
    assert command.search_command() == "python tune_scratch.py --data 'my photos' --keep-duplicates --image-size 64"
