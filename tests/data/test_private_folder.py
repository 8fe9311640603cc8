import os
import stat

import pytest

from inat.data.private_folder import check_trusted, create_private
from inat.errors import DataError

NOBODY = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to another user")


def mode(path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_new_folder_is_open_to_this_user_only_whatever_the_umask(tmp_path):
    before = os.umask(0)
    try:
        create_private(tmp_path / "above" / "cache")
    finally:
        os.umask(before)
    assert mode(tmp_path / "above" / "cache") == 0o700
    create_private(tmp_path / "above" / "cache")  # a second search finds it


def test_a_folder_that_every_user_can_write_to_is_refused(tmp_path):
    cache = tmp_path / "cache"
    cache.mkdir()
    cache.chmod(0o777)
    with pytest.raises(DataError, match=rf"every user of this machine can write to the cache {cache}.*`chmod o-w"):
        create_private(cache)
    cache.chmod(0o1777)  # like /tmp: nobody can replace what others have put there
    create_private(cache)
    cache.chmod(0o775)  # a group that shares a cache trusts its members
    create_private(cache)


@as_root
def test_a_folder_that_another_user_put_into_a_shared_one_is_refused(tmp_path):
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    cache = shared / "inat-cache"
    cache.mkdir()
    os.chown(cache, NOBODY, -1)
    with pytest.raises(DataError, match=rf"the cache {cache} belongs to .*, who may have put other photos into it;"):
        check_trusted(cache)
    shared.chmod(0o755)  # only the owner of this folder could give the cache away
    check_trusted(cache)


def test_a_missing_folder_is_no_error(tmp_path):
    check_trusted(tmp_path / "missing")
