from inat.constants import PRECISION_JSONL
from inat.finalize.command import _carry_choices


def test_the_runs_take_the_precision_that_the_study_chose_and_keep_their_own(tmp_path):
    source, target = tmp_path / PRECISION_JSONL, tmp_path / "final" / PRECISION_JSONL
    target.parent.mkdir()
    _carry_choices(source, target)
    assert not target.exists()
    source.write_text('{"key": "a", "precision": "32-true"}\n')
    _carry_choices(source, target)
    assert target.read_text() == source.read_text()
    source.write_text("")
    _carry_choices(source, target)
    assert target.read_text() == '{"key": "a", "precision": "32-true"}\n'
