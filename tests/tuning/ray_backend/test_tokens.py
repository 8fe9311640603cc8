import pytest

from inat.errors import ConfigError
from inat.tuning.ray_backend import tokens


@pytest.fixture
def token(monkeypatch, tmp_path):
    """A token of the user in the default place; what Ray then does with it is not called."""
    monkeypatch.setattr(tokens, "read_environment_again", lambda: None)
    monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)
    monkeypatch.delenv("RAY_AUTH_TOKEN_PATH", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    path = tmp_path / ".ray" / "auth_token"
    path.parent.mkdir()
    path.write_text("secret")
    path.chmod(0o600)
    return path


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o620, 0o601])
def test_a_token_that_others_can_read_is_refused_with_the_cure(token, mode):
    token.chmod(mode)
    with pytest.raises(ConfigError, match=rf"has mode {mode:o}, .* run `chmod 600 {token}`"):
        tokens.use_token_of_user()


def test_so_is_one_in_another_place(token, monkeypatch, tmp_path):
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "shared"))
    (tmp_path / "shared").write_text("secret")
    (tmp_path / "shared").chmod(0o644)
    with pytest.raises(ConfigError, match="shared has mode 644"):
        tokens.use_token_of_user()


def test_a_private_token_is_accepted_and_so_is_none(token):
    tokens.use_token_of_user()
    token.unlink()
    tokens.use_token_of_user()


def test_a_token_in_the_environment_comes_first(token, monkeypatch):
    token.chmod(0o644)
    monkeypatch.setenv("RAY_AUTH_TOKEN", "secret")
    tokens.use_token_of_user()


def test_each_session_has_another_token_that_only_its_user_can_read(tmp_path):
    found = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        values = tokens.environment_of_new_token(tmp_path / name)
        path = tmp_path / name / "token"
        assert values == {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(path), "RAY_AUTH_TOKEN": None}
        assert path.stat().st_mode & 0o777 == 0o600
        found.append(path.read_text())
    assert found[0] != found[1]
    assert min(map(len, found)) == 64  # 256 bits in hexadecimal digits


def test_a_file_in_the_place_of_a_new_token_is_not_written_to(tmp_path):
    (tmp_path / "token").write_text("planted")
    with pytest.raises(FileExistsError):
        tokens.environment_of_new_token(tmp_path)
