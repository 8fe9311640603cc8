import io

import imagehash
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance

from inat.data.duplicates import find_copies, join_sets
from inat.data.thumbnails import SIDE, grey, perceptual_hashes, thumbnail


def photo(seed: int, side: int = 200) -> Image.Image:
    """A picture with coarse and fine structure, unlike that of another seed."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (7, 7, 3), dtype=np.uint8)).resize(
        (side, side), Image.Resampling.BICUBIC
    )
    fine = Image.fromarray(rng.integers(0, 256, (29, 29, 3), dtype=np.uint8)).resize((side, side))
    return Image.blend(coarse, fine, 0.25)


def recompressed(image: Image.Image, quality: int) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, format="JPEG", quality=quality)
    return Image.open(buffer).convert("RGB")


COPIES = {
    "equal": lambda image: image.copy(),
    "recompressed": lambda image: recompressed(image, 30),
    "smaller": lambda image: image.resize((90, 90)),
    "larger": lambda image: image.resize((500, 500), Image.Resampling.BICUBIC),
    "brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.15),
    "grey": lambda image: image.convert("L").convert("RGB"),
}


def thumbnails(*images: Image.Image) -> np.ndarray:
    return np.stack([thumbnail(image) for image in images])


def usable(count: int) -> np.ndarray:
    return np.ones(count, bool)


@pytest.mark.parametrize("kind", COPIES)
def test_a_copy_is_found_among_other_images(kind):
    images = [photo(seed) for seed in range(40)] + [COPIES[kind](photo(7))]
    copies = find_copies(thumbnails(*images), usable(41))
    assert copies.pairs.tolist() == [[7, 40]]
    assert copies.exact.tolist() == [kind == "equal"]
    assert copies.sets[7] == copies.sets[40]
    assert len(set(copies.sets.tolist())) == 40


def test_the_hash_is_that_of_imagehash():
    small = thumbnails(*(photo(seed) for seed in range(30)))
    own = np.unpackbits(perceptual_hashes(grey(small)).view(np.uint8).reshape(30, 8), axis=1)
    theirs = [imagehash.phash(Image.fromarray(pixels)).hash.ravel() for pixels in small]
    assert np.array_equal(own, np.array(theirs))


def test_blank_images_are_copies_only_of_equal_ones():
    blank = [Image.new("RGB", (50, 50), colour) for colour in ("white", "black", "white", "red")]
    copies = find_copies(thumbnails(*blank), usable(4))
    assert copies.pairs.tolist() == [[0, 2]]


def test_unreadable_images_are_no_copies_of_each_other():
    black = np.zeros((3, SIDE, SIDE, 3), np.uint8)
    assert len(find_copies(black, np.array([True, False, False])).pairs) == 0


def test_a_chain_of_copies_is_one_set():
    a = photo(1)
    images = [a, recompressed(a, 60), recompressed(recompressed(a, 60), 40), photo(2)]
    sets = find_copies(thumbnails(*images), usable(4)).sets
    assert sets[0] == sets[1] == sets[2] != sets[3]


def test_thumbnails_do_not_depend_on_who_asks():
    image = photo(3, side=640)
    assert np.array_equal(thumbnail(image), thumbnail(image.copy()))
    assert thumbnail(Image.new("RGB", (1, 3000), "red")).shape == (SIDE, SIDE, 3)


@settings(max_examples=50, deadline=None)
@given(data=st.data(), count=st.integers(1, 30))
def test_joined_sets_are_the_finest_that_divide_none_of_the_given_ones(data, count):
    numbers = st.lists(st.integers(0, 8), min_size=count, max_size=count)
    first, second = np.array(data.draw(numbers)), np.array(data.draw(numbers))
    joined = join_sets(first, second)
    for given_sets in (first, second):
        for number in np.unique(given_sets):
            assert len(np.unique(joined[given_sets == number])) == 1
    for number in np.unique(joined):  # connected: removing the link to the rest leaves nothing outside
        members = np.flatnonzero(joined == number)
        reached, frontier = {members[0]}, [members[0]]
        while frontier:
            row = frontier.pop()
            near = set(np.flatnonzero((first == first[row]) | (second == second[row])).tolist()) - reached
            reached |= near
            frontier += near
        assert reached == set(members.tolist())


def test_many_photos_of_a_fixed_camera_are_one_set_without_all_their_pairs():
    count, rng = 400, np.random.default_rng(0)
    scene = thumbnail(photo(1)).astype(int)
    noisy = np.clip(scene + rng.integers(-3, 4, (count, SIDE, SIDE, 3)), 0, 255).astype(np.uint8)
    copies = find_copies(noisy, usable(count))
    assert set(copies.sets.tolist()) == {0}
    assert len(copies.pairs) < count * (count - 1) / 2 / 2  # memory: 8 kB for each pair that is compared at once
