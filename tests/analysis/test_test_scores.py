import pytest

from analysis.test_scores import accuracy_interval, describe_calibration


@pytest.mark.parametrize(("error", "verdict"), [(0.05, "within chance"), (0.11, "more than chance")])
def test_the_calibration_error_is_compared_with_chance(error, verdict):
    test = {"ece": error, "ece_chance": 0.06, "ece_chance_95": 0.1, "images": 1360}
    text = describe_calibration(test)
    assert verdict in text
    assert "0.0600 on average" in text
    assert "1,360 images" in text


def test_scores_of_earlier_versions_are_read():
    earlier = {"ece": 0.05, "accuracy_interval": [1.0, 1.0], "accuracy_wilson": [0.9, 1.0], "images": 10}
    assert describe_calibration(earlier) == "calibration error 0.0500"
    assert accuracy_interval(earlier) == [0.9, 1.0]
    assert accuracy_interval({"accuracy_interval": None}) is None
