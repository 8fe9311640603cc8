from inat.finalize.metrics_json import lead_sentence
from tests.finalize.test_candidates import candidate


def test_the_lead_is_not_claimed_to_be_significant():
    winner, second = candidate("a", 0.9, 0.92, 0.91), candidate("b", 0.8, 0.79, 0.81)
    words = lead_sentence([winner, second, candidate("c", 0.5, 0.6), candidate("d", seeds=2)], winner)
    assert words.startswith("a leads b by 0.1100 (95 % interval 0.0")
    assert words.endswith("Welch). The interval is above 0, but it is not adjusted for choosing the best of 3.")


def test_a_lead_that_the_seeds_may_explain_is_described_as_such():
    winner, second = candidate("a", 0.9, 0.8, 0.7), candidate("b", 0.89, 0.79, 0.69)
    assert lead_sentence([winner, second], winner).endswith(
        "The interval is not entirely above 0, so the seeds alone may explain the lead; it is not adjusted for "
        "choosing the best of 2."
    )
    assert lead_sentence([winner], winner) == ""
