from inat.training.retries import Economy


def test_what_changes_no_result_is_given_up_first():
    economy, steps = Economy(batch_size=4, can_checkpoint=True, can_send=True), []
    while economy.save_more():
        steps.append((economy.sends, economy.checkpointed, economy.parts))
    assert steps == [(True, False, None), (True, True, None), (True, True, 2), (True, True, 1)]
