import functools
import hashlib
import os
import socket
import threading
import time
from collections import OrderedDict
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from torch import nn
from torchvision.models import get_model

from inat.errors import ConfigError
from inat.models import weights
from inat.models.backbones import build_backbone
from inat.models.published_backbones import BACKBONES
from inat.models.weights import find_weights, load_weights

CONTENT = b"weights" * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()
PUBLISHED = f"resnet50-{SHA256[:8]}.pth"


class Handler(SimpleHTTPRequestHandler):
    """Serves a folder; answers below /cut/ end half-way."""

    def copyfile(self, source, outputfile) -> None:
        content = source.read()
        outputfile.write(content[: len(content) // 2] if self.path.startswith("/cut/") else content)

    def log_message(self, *_) -> None:
        pass


@pytest.fixture
def served(tmp_path) -> Path:
    folder = tmp_path / "served"
    (folder / "cut").mkdir(parents=True)
    for path in (folder / PUBLISHED, folder / "cut" / PUBLISHED):
        path.write_bytes(CONTENT)
    return folder


@pytest.fixture
def site(served):
    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(served))) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    """The empty cache of torch.hub; downloads fail unless a test publishes a file."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("NO_PROXY", "*")
    publish_at(monkeypatch, f"http://127.0.0.1:1/{PUBLISHED}")
    return tmp_path / "torch" / "hub" / "checkpoints"


@pytest.fixture
def folder(tmp_path) -> Path:
    path = tmp_path / "weights"
    path.mkdir()
    return path


def publish_at(monkeypatch, url: str) -> None:
    monkeypatch.setattr(BACKBONES["resnet50"].weights.value, "url", url)


def refused(call) -> str:
    with pytest.raises(ConfigError) as caught:
        call()
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", ["resnet50.pth", PUBLISHED])
def test_a_file_in_the_folder_is_found_under_either_name(folder, cache, name):
    cache.mkdir(parents=True)
    (cache / PUBLISHED).write_bytes(CONTENT)
    (folder / name).write_bytes(CONTENT)
    assert find_weights("resnet50", folder) == weights.WeightsFile(folder / name, SHA256)
    (folder / name).unlink()
    assert find_weights("resnet50", folder).path == cache / PUBLISHED


def test_a_download_is_stored_in_the_cache_and_happens_once(site, served, cache, monkeypatch, capsys):
    publish_at(monkeypatch, f"{site}/{PUBLISHED}")
    assert find_weights("resnet50") == weights.WeightsFile(cache / PUBLISHED, SHA256)
    assert f"fetching {site}/{PUBLISHED}" in capsys.readouterr().out
    (served / PUBLISHED).unlink()
    assert find_weights("resnet50").path == cache / PUBLISHED
    assert {path.suffix for path in cache.iterdir()} <= {".pth", ".lock"}
    assert socket.getdefaulttimeout() is None


def test_a_download_that_was_cut_leaves_nothing(site, cache, monkeypatch):
    publish_at(monkeypatch, f"{site}/cut/{PUBLISHED}")
    assert "no weights of resnet50 (cannot fetch them: invalid hash value" in refused(lambda: find_weights("resnet50"))
    assert not [path for path in cache.iterdir() if path.suffix != ".lock"]


def test_an_address_without_the_file_says_so(site, monkeypatch):
    publish_at(monkeypatch, f"{site}/elsewhere/{PUBLISHED}")
    assert "(cannot fetch them: HTTP Error 404: File not found); download" in refused(lambda: find_weights("resnet50"))


def test_without_network_the_error_names_the_files_and_the_folder(folder, cache):
    started = time.monotonic()
    message = refused(lambda: find_weights("resnet50", folder))
    assert time.monotonic() - started < 5
    assert message.startswith("no weights of resnet50 (cannot fetch them: [Errno ")
    assert message.endswith(
        f"Connection refused); download http://127.0.0.1:1/{PUBLISHED} and put it into {folder} as {PUBLISHED} or "
        "resnet50.pth"
    )
    message = refused(lambda: find_weights("resnet50", download=False))
    assert message == (
        f"no weights of resnet50 (none are on this node); download http://127.0.0.1:1/{PUBLISHED} and put it into "
        f"{cache}, or as {PUBLISHED} or resnet50.pth into a folder named with --weights-dir"
    )


def test_a_server_that_never_answers_is_an_error_after_some_seconds(monkeypatch):
    monkeypatch.setattr(weights, "ANSWER_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        publish_at(monkeypatch, f"http://127.0.0.1:{silent.getsockname()[1]}/{PUBLISHED}")
        started = time.monotonic()
        assert "(cannot fetch them: timed out)" in refused(lambda: find_weights("resnet50"))
    assert time.monotonic() - started < 5


def test_a_file_whose_hash_contradicts_its_name_is_refused_with_both_hashes(folder):
    (folder / PUBLISHED).write_bytes(CONTENT[:-1])
    found = hashlib.sha256(CONTENT[:-1]).hexdigest()
    message = refused(lambda: find_weights("resnet50", folder))
    assert f"{folder / PUBLISHED} is damaged" in message
    assert f"begins with {SHA256[:8]}, but it is {found};" in message
    (folder / PUBLISHED).rename(folder / "resnet50.pth")
    assert find_weights("resnet50", folder).sha256 == found


def test_a_file_is_hashed_again_only_when_it_changed(folder, monkeypatch):
    hashed = []
    digest = hashlib.file_digest
    monkeypatch.setattr(hashlib, "file_digest", lambda *given: hashed.append(given) or digest(*given))
    (folder / "resnet50.pth").write_bytes(CONTENT)
    assert [find_weights("resnet50", folder).sha256 for _ in range(3)] == [SHA256] * 3
    assert len(hashed) == 1
    (folder / "resnet50.pth").write_bytes(CONTENT[::-1])
    os.utime(folder / "resnet50.pth", (0, 0))  # so that the time of change differs on any file system
    assert find_weights("resnet50", folder).sha256 == hashlib.sha256(CONTENT[::-1]).hexdigest()


def test_a_missing_folder_and_an_unknown_backbone_are_refused(folder):
    assert refused(lambda: find_weights("resnet50", folder / "x")) == (
        f"there is no folder {folder / 'x'}; check --weights-dir"
    )
    assert "unknown backbone 'resnet'; choose from" in refused(lambda: find_weights("resnet", folder))


STATE = OrderedDict(a=torch.arange(6.0).reshape(2, 3), b=torch.tensor(7))


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("zipped", [False, True])
def test_a_state_dict_is_read_in_either_format(tmp_path, wrapped, zipped):
    path = tmp_path / "weights.pth"
    torch.save({"state_dict": STATE, "epoch": 3} if wrapped else STATE, path, _use_new_zipfile_serialization=zipped)
    loaded = load_weights(path)
    assert list(loaded) == ["a", "b"]
    assert all(torch.equal(loaded[key], STATE[key]) for key in STATE)


def test_the_format_version_in_a_state_dict_is_kept(tmp_path):
    state = nn.BatchNorm2d(2).state_dict()
    torch.save(state, tmp_path / "weights.pth")
    assert load_weights(tmp_path / "weights.pth")._metadata == state._metadata


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (nn.Linear(2, 2), "it is damaged, or contains Python objects, which could run code"),
        ([STATE["a"]], "it contains a list"),
        ({"a": STATE["a"], "epoch": 3}, "'epoch' in it is a int"),
        ({0: STATE["a"]}, "0 in it is a Tensor"),
        ({"state_dict": STATE["a"]}, "it contains a Tensor"),
        ({}, "it is empty"),
    ],
    ids=["model", "list", "number", "key", "tensor", "empty"],
)
def test_anything_but_a_state_dict_is_refused(tmp_path, content, why):
    path = tmp_path / "weights.pth"
    torch.save(content, path)
    expected = f"{path} is no state dict ({why}); save one with torch.save(model.state_dict(), path)"
    assert refused(lambda: load_weights(path)) == expected


class Bomb:
    def __reduce__(self):
        return os.mkdir, ("exploded",)


def test_code_in_a_file_is_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"a": Bomb()}, tmp_path / "weights.pth")
    assert "contains Python objects" in refused(lambda: load_weights(tmp_path / "weights.pth"))
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("share", [0, 0.01, 0.5, 0.99])
def test_a_damaged_file_is_refused(tmp_path, zipped, share):
    path = tmp_path / "weights.pth"
    torch.save({"a": torch.randn(1000)}, path, _use_new_zipfile_serialization=zipped)
    os.truncate(path, int(share * path.stat().st_size))
    assert f"{path} is no state dict (it is damaged" in refused(lambda: load_weights(path))


def test_a_file_that_cannot_be_read_is_refused(tmp_path):
    assert f"cannot read {tmp_path / 'x'} (No such file" in refused(lambda: load_weights(tmp_path / "x"))
    assert f"cannot read {tmp_path} (Is a directory)" in refused(lambda: load_weights(tmp_path))


def test_real_weights_give_the_outputs_of_torchvision():
    file = Path(os.environ.get("INAT_WEIGHTS", "")) / "mobilenet_v2.pth"
    if not file.is_file():
        pytest.skip("set INAT_WEIGHTS to a folder with mobilenet_v2.pth")
    state = load_weights(find_weights("mobilenet_v2", file.parent).path)
    reference = get_model("mobilenet_v2", weights=None).eval()
    reference.load_state_dict(state)
    network = build_backbone("mobilenet_v2", 1000, state_dict=state).eval()
    network.head.linear.load_state_dict(reference.classifier[1].state_dict())
    images = torch.randn(2, 3, 96, 96)
    with torch.no_grad():
        assert torch.equal(network(images), reference(images))
