"""Files of a cache that are empty, cut or of another kind: the store counts as missing, and nothing crashes."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inat.data import feature_store, image_store
from inat.data.cache import cached_stores

JSON_TEXTS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["dtype", "folder", "size", "photos", "skipped", "state", "features"]), inner)
    ),
    max_leaves=6,
).map(lambda value: json.dumps(value).encode())
CONTENTS = (
    st.sampled_from([b"", b"\0" * 200, b"[" * 100_000, b"\x93NUMPY", b"\x93NUMPY\x01\x00v\x00{", b"PK\x03\x04"])
    | st.binary(max_size=40)
    | JSON_TEXTS
)
ARRAYS = [np.zeros(2), np.zeros((2, 4, 4, 3)), np.array(1), np.zeros((3, 4, 4, 3), np.uint8), np.array([{"a": 1}])]


def write_image_store(directory: Path) -> Path:
    directory.mkdir()
    np.save(directory / "images.npy", np.zeros((2, 4, 4, 3), np.uint8))
    np.save(directory / "labels.npy", np.zeros(2, np.int64))
    np.save(directory / "aspects.npy", np.ones(2, np.float32))
    np.save(directory / "thumbnails.npy", np.zeros((2, 32, 32, 3), np.uint8))
    manifest = {"folder": str(directory), "size": 4, "photos": 2, "skipped": 0}
    (directory / "manifest.json").write_text(json.dumps(manifest))
    return directory


def write_feature_store(directory: Path) -> Path:
    directory.mkdir()
    np.save(directory / "features.npy", np.zeros((2, 8), np.float32))
    (directory / "manifest.json").write_text(json.dumps({"dtype": "float32"}))
    return directory


def test_intact_stores_are_opened(tmp_path):
    assert image_store._open(write_image_store(tmp_path / "a-b-c-4px")) is not None
    assert feature_store.open_store(write_feature_store(tmp_path / "features")) is not None


@settings(max_examples=60, deadline=None)
@given(name=st.sampled_from(["images.npy", "labels.npy", "aspects.npy", "thumbnails.npy"]), content=CONTENTS)
def test_an_image_store_with_a_damaged_file_counts_as_missing(tmp_path_factory, name, content):
    directory = write_image_store(tmp_path_factory.mktemp("stores") / "a-b-c-4px")
    (directory / name).write_bytes(content)
    assert image_store._open(directory) is None


@pytest.mark.parametrize("array", ARRAYS, ids=lambda array: str(array.shape))
@pytest.mark.parametrize("name", ["images.npy", "labels.npy", "aspects.npy", "thumbnails.npy"])
def test_an_image_store_with_an_array_of_another_shape_counts_as_missing(tmp_path, name, array):
    directory = write_image_store(tmp_path / "a-b-c-4px")
    np.save(directory / name, array, allow_pickle=True)
    fits = array.shape == (2,) and name in ("labels.npy", "aspects.npy")
    assert (image_store._open(directory) is not None) == fits


@settings(max_examples=60, deadline=None)
@given(name=st.sampled_from(["features.npy", "manifest.json"]), content=CONTENTS)
def test_a_feature_store_with_a_damaged_file_counts_as_missing(tmp_path_factory, name, content):
    directory = write_feature_store(tmp_path_factory.mktemp("stores") / "features")
    (directory / name).write_bytes(content)
    store = feature_store.open_store(directory)
    assert store is None or isinstance(store.dtype, str)


@settings(max_examples=60, deadline=None)
@given(content=CONTENTS)
def test_the_list_of_stores_leaves_out_a_store_with_a_damaged_manifest(tmp_path_factory, content):
    cache = tmp_path_factory.mktemp("cache")
    directory = write_image_store(cache / "a-b-c-4px")
    (directory / "manifest.json").write_bytes(content)
    assert len(cached_stores(cache)) <= 1
