from pathlib import Path

import pytest

from inat.errors import ConfigError, SearchError
from inat.tuning.ray_backend.start_errors import as_start_error

PLACE = Path("/tmp")


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(28, "No space left on device"), r"\[Errno 28\] No space left on device"),
        (RuntimeError("the raylet has ended\nwith a long log"), "the raylet has ended"),
        (AssertionError(), "AssertionError"),
    ],
)
def test_whatever_ray_raises_becomes_one_sentence(error, reason):
    with pytest.raises(SearchError, match=rf"^Ray cannot start on this machine \({reason}\); check .* of /tmp, or"):
        with as_start_error(PLACE):
            raise error


def test_own_errors_and_interruptions_pass():
    for error in (ConfigError("wrong"), KeyboardInterrupt()):
        with pytest.raises(type(error)):
            with as_start_error(PLACE):
                raise error


def test_a_name_in_another_encoding_is_named():
    with pytest.raises(ConfigError, match=r"takes only UTF-8, and '/data/V\\udcf6gel' is in another"):
        with as_start_error(PLACE):
            "search --data /data/V\udcf6gel --wandb off".encode()
