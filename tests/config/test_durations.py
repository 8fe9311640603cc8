import pytest

from inat.config.durations import seconds_of


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("30m", 1800), ("2h", 7200), ("1.5 d", 129_600), (None, None)]
)
def test_durations(text, seconds):
    assert seconds_of(text) == seconds
