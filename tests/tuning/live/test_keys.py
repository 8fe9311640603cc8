from dataclasses import replace

import pytest

from inat.tuning.live.keys import Action, ViewState, decode_keys, press


def after(keys, snapshot, state=None):
    state, actions = state or ViewState(), []
    for key in keys:
        state, action = press(state, key, snapshot)
        actions += [action] if action else []
    return state, actions


def test_bytes_of_a_terminal_become_keys():
    assert decode_keys(b"s\x1b[A\x1bOB\x1b[6~Q\x1b") == ["s", "up", "down", "page down", "q", "back"]
    assert decode_keys(b"\x1b[200~\xff\x0c") == ["\ufffd", "redraw"]


def test_arrows_walk_through_running_and_ended_trials_and_stay_inside(snapshot):
    assert after(["down"], snapshot)[0].chosen == "t0005"
    assert after(["down"] * 5, snapshot)[0].chosen == "t0004"
    assert after(["end", "down"], snapshot)[0].chosen == "t0000"
    assert after(["end", "page up", "up"], snapshot)[0].chosen == "t0005"


def test_s_goes_through_all_orders(snapshot):
    orders = [after(["s"] * times, snapshot)[0].order for times in range(5)]
    assert orders == ["trial", "best", "now", "epoch", "trial"]
    assert after(["s", "s", "s", "down"], snapshot)[0].chosen == "t0008"


def test_d_opens_the_chosen_trial_and_closes_it(snapshot):
    state, _ = after(["d"], snapshot)
    assert (state.chosen, state.details) == ("t0005", True)
    assert not after(["d", "d"], snapshot)[0].details
    state, _ = after(["d", "down", "back"], snapshot)
    assert (state.chosen, state.details) == ("t0006", False)
    nothing = replace(snapshot, running=(), ended=())
    assert after(["d", "down"], nothing)[0] == ViewState()


def test_k_ends_a_running_trial_after_a_yes(snapshot):
    state, actions = after(["down", "k"], snapshot)
    assert (state.asked, actions) == ("t0005", [])
    assert after(["y"], snapshot, state) == (ViewState(chosen="t0005"), [Action("end", "t0005")])
    no, actions = after(["q"], snapshot, state)
    assert (no.asked, no.notice, actions) == ("", "t0005 goes on", [])


@pytest.mark.parametrize(("chosen", "notice"), [("t0006", "t0006 is ending"), ("t0003", "t0003 has ended")])
def test_k_says_why_it_cannot(snapshot, chosen, notice):
    state, actions = after(["k"], snapshot, ViewState(chosen=chosen))
    assert (state.asked, state.notice, actions) == ("", notice, [])


def test_without_the_search_k_is_no_key(snapshot):
    assert after(["k"], replace(snapshot, can_end=False)) == (ViewState(), [])


def test_q_and_redraw_are_left_to_the_program(snapshot):
    assert after(["q", "redraw", "x"], snapshot)[1] == [Action("quit"), Action("redraw")]
