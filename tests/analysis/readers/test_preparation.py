from analysis.readers.preparation import read_preparation


def test_folds_add_up_and_a_retried_training_counts_once(tmp_path):
    lines = [
        '{"event": "epoch", "trial_id": "t0000", "row": {"epoch": 1, "fold": 1, "preparation_seconds": 5}}',
        '{"event": "epoch", "trial_id": "t0000", "row": {"epoch": 3, "fold": 2, "preparation_seconds": 1}}',
        '{"event": "epoch", "trial_id": "t0000", "row": {"epoch": 4, "fold": 2, "preparation_seconds": 2}}',
        '{"event": "epoch", "trial_id": "t0001", "row": {"epoch": 1}}',
        '{"event": "epoch", "trial_id": "t0001", "row": {"epoch": 2, "preparation_seconds": "x"}}',
        '{"event": "epoch", "trial_id": "t0001", "row": {"epoch": 2, "preparation_sec',
    ]
    (tmp_path / "journal.jsonl").write_text("\n".join(lines))
    assert read_preparation(tmp_path).to_dict() == {"t0000": 7.0}
    assert len(read_preparation(tmp_path / "nowhere")) == 0
