import io
import stat
import zipfile

import pytest

from inat.data.download import unzip
from tests.data.site import IMAGES, assert_whole, refuse, run, zipped


def corrupt(body: bytes) -> bytes:
    place = body.index(IMAGES["val/fish/2.jpg"]) + 10_000
    return body[:place] + bytes([body[place] ^ 1]) + body[place + 1 :]


def encrypt(body: bytes) -> bytes:
    return body.replace(b"PK\x03\x04\x14\0\0", b"PK\x03\x04\x14\0\1").replace(
        b"PK\1\2\x14\3\x14\0\0", b"PK\1\2\x14\3\x14\0\1"
    )


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (corrupt(zipped(IMAGES)), r"no sound zip archive: Bad CRC-32 for file 'val/fish/2.jpg'; .* fetch them anew"),
        (encrypt(zipped(IMAGES)), r"no sound zip archive: .*is encrypted"),
        (
            b"<html>sign in</html>",
            r"the 20 bytes declared and received are no sound zip archive: .* not a zip file; check",
        ),
        (zipped({"train": b"x", "train/bird/0.jpg": b"x"}), r"no sound zip archive: .*; check --url"),
        (zipped({"train/bird": b"x", "train/bird/": b""}), r"no sound zip archive: .*; check --url"),
        (zipped({"train/bird/0.jpg": b"x", "train/bird": b"x"}), r"no sound zip archive: .*; check --url"),
        (zipped({}), r"no 'train' folder in it; pass the --url of a zip with train/<class>/\* and val"),
        (
            zipped({"bird/0.jpg": b"x"}),
            r"the photos that a search needs: no 'train' folder in it; pass the --url",
        ),
        (zipped({"train/bird/0.jpg": b"x"}), r"needs: no 'val' or 'test' folder in it; pass the --url"),
        (
            zipped({"train/bird/0.jpg": b"x", "val/fish/0.jpg": b"x"}),
            r"needs: train and val must have the same classes;",
        ),
    ],
    ids=[
        "CRC",
        "encrypted",
        "no zip",
        "file, folder below",
        "file, folder",
        "folder, file",
        "empty",
        "no train",
        "no val",
        "classes",
    ],
)
def test_an_unusable_archive_is_one_sentence_and_is_not_kept(site, to, body, message):
    right, site.body = site.body, body
    refuse(site, to, message)
    assert list(to.parent.iterdir()) == []
    site.body = right
    run(site, to)
    assert_whole(to)


def compressed_and_damaged(method: int) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        archive.writestr("train/bird/0.jpg", bytes(1000))
    body = buffer.getvalue()
    return body[:60] + b"??" + body[62:]


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_damage_is_reported_equally_for_every_compression(site, to, method):
    site.body = compressed_and_damaged(method)
    refuse(site, to, r"no sound zip archive: .*; check --url")
    assert list(to.parent.iterdir()) == []


def bomb() -> bytes:
    """An archive of 0.3 MB that unpacks to 300 MB; written by hand, zipfile would need the 300 MB."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for i in range(3):
            archive.writestr(f"train/bird/{i}.jpg", bytes(100_000_000), compresslevel=1)
    return buffer.getvalue()


def declared(size: int) -> bytes:
    """An archive whose only member claims to have ``size`` bytes."""
    body = bytearray(zipped({"train/bird/0.jpg": b"x"}))
    place = body.rindex(b"PK\1\2")
    body[place + 24 : place + 28] = size.to_bytes(4, "little")
    return bytes(body)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            bomb(),
            r"the archive has 300,000,000 bytes in [\d,]+, which no archive of photos has, so nothing was unpacked",
        ),
        (declared(4_000_000_000), r"has 4,000,000,000 bytes in \d+, which no archive of photos has, so nothing was"),
        (zipped(IMAGES | {"train/" + "a" * 300: b""}), r"a member with a name that is too long for a disk, 'train/aaa"),
        (zipped(IMAGES | {"a/" * 2000: b""}), r"a member with a name that is too long for a disk, 'a/a/a/"),
    ],
    ids=["bomb", "claim", "long name", "deep"],
)
def test_a_zip_bomb_is_refused_before_anything_is_unpacked(site, to, tmp_path, body, message):
    site.body = body
    refuse(site, to, message)
    assert list(tmp_path.rglob("*")) == [to.parent]


def test_an_archive_of_too_many_files_is_refused(site, to, monkeypatch):
    monkeypatch.setattr(unzip, "MAX_MEMBERS", 3)
    site.body = zipped(IMAGES)
    refuse(site, to, rf"the archive has {len(IMAGES)} members, more than the allowed 3, so nothing was unpacked;")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_second_member_of_the_same_name_is_refused_instead_of_replacing_the_first(site, to):
    buffer = io.BytesIO(zipped(IMAGES))
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.writestr("train/bird/0.jpg", b"another")
    site.body = buffer.getvalue()
    refuse(site, to, r"no sound zip archive: .*File exists.*; check --url")


def special(kind: int) -> zipfile.ZipInfo:
    member = zipfile.ZipInfo("train/bird/odd.jpg")
    member.create_system, member.external_attr = 3, (kind | 0o777) << 16
    return member


@pytest.mark.parametrize(
    ("member", "message"),
    [
        (
            "../outside.jpg",
            r"member '\.\./outside.jpg' of the archive leads out of the folder, so nothing was unpacked;",
        ),
        ("train/../../outside.jpg", r"leads out of the folder"),
        ("{tmp}/outside.jpg", r"member '/.*/outside.jpg' of the archive leads out of the folder"),
        ("..\\outside.jpg", r"leads out of the folder"),
        ("C:outside.jpg", r"leads out of the folder"),
        (special(stat.S_IFLNK), r"member 'train/bird/odd.jpg' of the archive is a link or a device"),
        (special(stat.S_IFIFO), r"is a link or a device"),
    ],
    ids=str,
)
def test_a_member_that_would_leave_the_folder_is_refused_before_anything_is_unpacked(
    site, to, tmp_path, member, message
):
    member = member.format(tmp=tmp_path) if isinstance(member, str) else member
    site.body = zipped(IMAGES | {member: b"/etc/passwd"})
    refuse(site, to, message)
    assert list(tmp_path.rglob("*")) == [to.parent]
