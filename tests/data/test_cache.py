import shutil
import subprocess
import sys

import pytest
from filelock import FileLock

from inat.config.trial import TrialConfig
from inat.data.cache import CacheCommand, cached_stores, choose, clear, describe, show
from inat.data.image_store import open_stores
from inat.data.layouts import list_folders
from inat.data.store import lock_path
from inat.errors import ConfigError, DataError
from inat.models.frozen_features import open_features, plan_features
from tests.conftest import write_image


@pytest.fixture
def cache(image_tree, tmp_path):
    open_stores(list_folders(image_tree()).development, [8, 16], tmp_path / "cache", 0.01)
    return tmp_path / "cache"


def test_a_store_is_listed_with_folder_size_and_state(cache, tmp_path):
    (cache / "something else").mkdir()
    stores = cached_stores(cache)
    assert sorted((s.size, s.images, s.state) for s in stores) == [(8, 20, "current"), (16, 20, "current")]
    assert all(s.folder == tmp_path / "photos" / "train" for s in stores)
    assert all(s.bytes > s.images * s.size**2 * 3 for s in stores)


def test_changed_and_removed_images_and_unfinished_builds_are_listed_as_such(cache, tmp_path):
    write_image(tmp_path / "photos" / "train" / "bird" / "new.jpg")
    assert {s.state for s in cached_stores(cache)} == {"photos changed"}
    shutil.rmtree(tmp_path / "photos")
    assert {s.state for s in cached_stores(cache)} == {"photos gone"}
    (cache / "photos-train-0123456789abcdef-32px.building").mkdir()
    assert {s.state for s in cached_stores(cache)} == {"photos gone", "unfinished"}


def test_clearing_removes_only_the_named_stores(cache, tmp_path):
    write_image(tmp_path / "photos" / "train" / "bird" / "new.jpg")
    open_stores(list_folders(tmp_path / "photos").development, [16], cache, 0.01)
    stores = cached_stores(cache)
    assert clear(choose(stores, ["outdated"])) == []
    (left,) = cached_stores(cache)
    assert (left.state, left.images) == ("current", 21)
    assert clear(choose([left], [left.name])) == []
    assert cached_stores(cache) == []


def test_a_store_that_is_being_built_is_not_removed(cache):
    stores = cached_stores(cache)
    with FileLock(lock_path(stores[0].directory)):
        assert clear(stores) == stores
        with pytest.raises(DataError, match="a search is building .*; clear it when the search has ended"):
            show(CacheCommand(cache_dir=cache, clear=("all",)))
    assert len(cached_stores(cache)) == 2


def test_a_cleared_cache_is_empty(cache):
    clear(cached_stores(cache)[:1])
    assert len(list(cache.glob("*.lock"))) == 1  # the other size needs it
    clear(cached_stores(cache))
    assert list(cache.iterdir()) == []


def test_unreadable_images_are_counted(image_tree, tmp_path):
    root = image_tree()
    (root / "train" / "bird" / "3.jpg").write_text("no image")
    open_stores(list_folders(root).development, [8], tmp_path / "cache", 0.1)
    (store,) = cached_stores(tmp_path / "cache")
    assert "20 photos (1 unreadable) of" in describe(store)


def test_clearing_without_a_name_is_refused(cache):
    with pytest.raises(ConfigError, match="--clear needs names from the list, outdated or all"):
        choose(cached_stores(cache), ())


def test_an_unknown_name_is_refused_with_the_known_ones(cache):
    with pytest.raises(ConfigError, match=r"nothing named 'x' to clear; choose from all, outdated, photos-train-"):
        choose(cached_stores(cache), ["all", "x"])


def test_the_command_lists_and_clears(cache):
    def run(*arguments: str) -> str:
        command = [sys.executable, "-m", "inat.data.cache", "--cache-dir", str(cache), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    assert "20 photos of" in (listed := run())
    assert "at 16 px" in listed
    assert run("--clear", "all").startswith("removed 2 of 2, ")
    assert run() == f"no stores in {cache}\n"


def test_a_missing_cache_folder_has_no_stores(tmp_path):
    assert cached_stores(tmp_path / "nowhere") == []


@pytest.fixture
def features(backbone_params, tmp_path):
    """A cache with images and features of them."""
    open_features(plan_features(TrialConfig.from_params(backbone_params | {"use_augmentation": True, "views": 1})))
    return tmp_path / "cache"


def test_features_are_listed_with_network_and_split(features, tmp_path):
    stores = [store for store in cached_stores(features) if store.features]
    assert sorted((s.images, s.size, s.state) for s in stores) == [(8, 32, "current"), (32, 32, "current")]
    assert all(s.bytes > s.images * 1280 * 4 for s in stores)
    described = "\n".join(describe(store) for store in stores)
    folder = tmp_path / "photos" / "train"
    assert f"features (19 of 20 stages of mobilenet_v2, train, view 0) of 32 photos of {folder} at 32 px, " in described
    assert f"features (19 of 20 stages of mobilenet_v2, val) of 8 photos of {folder} at 32 px, " in described


def test_features_of_changed_and_removed_images_are_outdated(features, tmp_path):
    write_image(tmp_path / "photos" / "train" / "bird" / "new.jpg")
    assert {store.state for store in cached_stores(features) if store.features} == {"photos changed"}
    shutil.rmtree(tmp_path / "photos")
    assert {store.state for store in cached_stores(features) if store.features} == {"photos gone"}
    clear(choose(cached_stores(features), ["outdated"]))
    assert list(features.iterdir()) == []


def test_features_are_cleared_by_name_unless_they_are_being_computed(features):
    one, other = (store for store in cached_stores(features) if store.features)
    with FileLock(lock_path(one.directory)):
        assert clear([one, other]) == [one]
    assert [store.name for store in cached_stores(features) if store.features] == [one.name]
    (features / f"{other.name}.building").mkdir()  # left by a process that was killed
    clear(choose(cached_stores(features), ["outdated"]))
    assert [store.name for store in cached_stores(features) if store.features] == [one.name]
    assert not (features / f"{other.name}.building").exists()


def test_features_of_the_scans_stay_current(backbone_params, tmp_path):
    digits = backbone_params | {"data": "digits", "image_size": 8}
    open_features(plan_features(TrialConfig.from_params(digits)))
    assert {store.state for store in cached_stores(tmp_path / "cache")} == {"current"}
    assert "of 1,149 photos of digits at 8 px" in "\n".join(map(describe, cached_stores(tmp_path / "cache")))
