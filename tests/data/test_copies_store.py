import numpy as np

from inat.data import copies_store
from inat.data.cache import cached_stores, describe
from inat.data.image_store import open_stores
from inat.data.layouts import list_folders


def open_both(root, cache):
    return [open_stores(part, [16], cache, 0.01)[0] for part in list_folders(root).parts]


def test_copies_are_found_once_and_listed_in_the_cache(image_tree, tmp_path, monkeypatch):
    root, cache = image_tree(), tmp_path / "cache"
    (root / "val/bird/same.jpg").write_bytes((root / "train/bird/3.jpg").read_bytes())
    found = copies_store.open_copies(open_both(root, cache))
    assert found.pairs.tolist() == [[3, 23]]
    monkeypatch.setattr(copies_store, "find_copies", lambda *_: 1 / 0)
    assert np.array_equal(copies_store.open_copies(open_both(root, cache)).sets, found.sets)
    assert [store.state for store in cached_stores(cache)] == ["current"] * 3
    assert any("copies among 27 photos of" in describe(store) for store in cached_stores(cache))


def test_damaged_copies_are_found_again(image_tree, tmp_path):
    root, cache = image_tree(), tmp_path / "cache"
    stores = open_both(root, cache)
    found = copies_store.open_copies(stores)
    (file,) = cache.glob("*copies/copies.npz")
    file.write_bytes(b"nothing")
    assert np.array_equal(copies_store.open_copies(stores).sets, found.sets)
