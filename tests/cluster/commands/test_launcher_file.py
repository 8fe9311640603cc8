import shutil
import subprocess

import pytest

from tests.cluster.commands.conftest import ROOMY


def test_the_shared_path_defaults_to_the_target_of_the_results_link(fake_cluster, run):
    del fake_cluster.launcher["metadata"]["shared_path"]
    assert "names no shared path" in run("check", fake_cluster.write(), *ROOMY)[1]
    fake_cluster.launcher["setup_commands"] = [f"ln -sfnT {fake_cluster.shared} ~/inat-search/results"]
    assert run("check", fake_cluster.write(), *ROOMY)[0] == 0
    fake_cluster.launcher["metadata"]["shared_path"] = "/nowhere/at/all"
    assert "the shared path /nowhere/at/all does not exist" in run("check", fake_cluster.write(), *ROOMY)[1]
    assert run("check", fake_cluster.write(), *ROOMY, "--shared-path", fake_cluster.shared)[0] == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"provider": {"type": "aws", "region": "us-west-2"}},
            "rents machines of aws, which do not exist before `ray up`",
        ),
        ({"provider": {"type": "xen"}}, "unknown provider type 'xen'; choose from local, aws"),
        ({"provider": {"type": "local", "head_ip": "a", "worker_ips": []}}, "provider.worker_ips is []; list"),
        ({"provider": {"type": "local", "worker_ips": ["b"]}}, "provider.head_ip is missing"),
        ({"provider": {"type": "local", "head_ip": "a", "worker_ips": ["a"]}}, "a is listed twice"),
        ({"auth": {}}, "auth.ssh_user is missing"),
        ({"auth": {"ssh_user": 5}}, "auth.ssh_user is 5; write a text"),
        ({"setup_commands": 5}, "setup_commands is 5; write a list of shell commands"),
        ({"worker_setup_commands": "make"}, "worker_setup_commands is 'make'; write a list of shell commands"),
        ({"head_start_ray_commands": [5]}, "head_start_ray_commands is [5]; write a list of shell commands"),
        ({"file_mounts": {"~/.ray/auth_token": 5}}, "file_mounts.~/.ray/auth_token is 5; write a text"),
        ({"file_mounts": {7: "inat"}}, "file_mounts.7 is 7; write a text"),
        ({"file_mounts": ["inat"]}, "file_mounts is ['inat']; write lines NAME: VALUE below it"),
        ({"metadata": {"shared_path": 5}}, "metadata.shared_path is 5; write a text"),
        ({"metadata": "here"}, "metadata is 'here'; write lines NAME: VALUE below it"),
        (
            {"auth": {"ssh_user": "u", "ssh_private_key": "/no/key"}},
            "ssh_private_key /no/key cannot be read (No such",
        ),
    ],
)
def test_an_invalid_launcher_file_is_refused(change, message, fake_cluster, run):
    fake_cluster.launcher |= change
    code, text = run("check", fake_cluster.write())
    assert code == 2
    assert text.startswith("error: ")
    assert message in text
    assert len(text.splitlines()) == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "does not exist; pass the file that you pass to `ray up`"),
        ("a: [1\nb: 2", "is not YAML at line 2, column 2"),
        ("- 1", "holds no settings"),
        (b"\xff\xfe\xfa", "cannot be read"),
    ],
)
def test_a_file_that_is_no_launcher_file_is_refused(content, message, tmp_path, run):
    file = tmp_path / "cluster.yaml"
    if content is not None:
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
    code, text = run("check", file)
    assert (code, message in text, len(text.splitlines())) == (2, True, 1), text


def test_a_key_that_other_users_can_read_is_refused(fake_cluster, run):
    (fake_cluster.folder / "key").chmod(0o644)
    assert "has mode 644, which ssh refuses; `chmod 600" in run("check", fake_cluster.write())[1]


@pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="no ssh-keygen here")
@pytest.mark.parametrize(("passphrase", "refused"), [("secret", True), ("", False)])
def test_a_key_with_a_passphrase_is_refused(passphrase, refused, fake_cluster, run):
    key = fake_cluster.folder / "key"
    key.unlink()
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", passphrase, "-f", key], check=True)
    code, text = run("check", fake_cluster.write(), *ROOMY)
    assert (code, "asks for a passphrase" in text) == ((2, True) if refused else (0, False)), text
