import pytest

from benchmarks.photo_subset import link_some_photos, shares


@pytest.fixture
def photos(tmp_path):
    for name, count in (("bird", 6), ("fish", 3)):
        for part, number in (("train", count), ("val", 2)):
            for i in range(number):
                path = tmp_path / "photos" / part / name / f"{i}.jpg"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(b"")
    return tmp_path / "photos"


def test_classes_keep_their_shares_and_the_test_photos_are_all_there(photos, tmp_path):
    target = link_some_photos(photos, 6, tmp_path / "few")
    found = sorted(str(path.relative_to(target)) for path in target.glob("train/*/*"))
    # Spread over the names, which may be sorted by species.
    assert found == [*(f"train/bird/{i}.jpg" for i in (0, 1, 3, 4)), *(f"train/fish/{i}.jpg" for i in (0, 1))]
    assert len(list(target.glob("val/*/*"))) == 4
    assert (target / "train/bird/0.jpg").resolve() == photos / "train/bird/0.jpg"


@pytest.mark.parametrize("count", [1, 7, 100, 999, 2000])
def test_shares_add_up_and_are_proportional(count):
    sizes = [307, 108, 273, 194, 820, 72, 226]
    parts = shares(sizes, count)
    assert sum(parts) == count
    assert all(abs(part - count * size / 2000) <= 1 for part, size in zip(parts, sizes, strict=True))


def test_balanced_classes_get_the_same_number():
    assert shares([5000] * 10, 10_000) == [1000] * 10


@pytest.mark.parametrize("count", [0, 10])
def test_impossible_number_names_what_is_possible(photos, tmp_path, count):
    with pytest.raises(SystemExit, match=rf"1\.\.9.*got {count}"):
        link_some_photos(photos, count, tmp_path / "few")
