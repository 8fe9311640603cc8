"""Weights of timm: where they are looked for, downloads from a local server in place of the Hub, damaged files."""

import functools
import hashlib
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import save_file

from inat.errors import ConfigError
from inat.models.timm_weights import timm_weights
from inat.models.weights import find_weights, load_weights

MODEL = "test_vit.r160_in1k"
BACKBONE = f"timm:{MODEL}"
STATE = {"a.weight": torch.arange(6.0).reshape(2, 3)}
COMMIT = "0123456789" * 4


class Hub(SimpleHTTPRequestHandler):
    """Serves files as the Hugging Face Hub does."""

    def do_HEAD(self) -> None:
        if self.path == "/":
            self.send_response(200)
            self.end_headers()
        else:
            super().do_HEAD()

    def end_headers(self) -> None:
        path = Path(self.translate_path(self.path))
        if path.is_file():
            self.send_header("ETag", f'"{hashlib.sha256(path.read_bytes()).hexdigest()}"')
            self.send_header("X-Repo-Commit", COMMIT)
        super().end_headers()

    def send_error(self, code, message=None, explain=None) -> None:
        self.send_response(code)
        self.send_header("X-Error-Code", "EntryNotFound")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_) -> None:
        pass


@pytest.fixture(autouse=True)
def caches(tmp_path, monkeypatch) -> Path:
    """Empty caches; the Hub is out of reach unless a test starts one."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    publish_at(monkeypatch, "http://127.0.0.1:1")
    return tmp_path / "hub"


def publish_at(monkeypatch, address: str) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}")


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """The folder of the model on a local server in place of the Hub."""
    folder = tmp_path / "served" / "timm" / MODEL / "resolve" / "main"
    folder.mkdir(parents=True)
    handler = functools.partial(Hub, directory=str(tmp_path / "served"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        publish_at(monkeypatch, f"http://127.0.0.1:{server.server_port}")
        yield folder
        server.shutdown()
        thread.join()


def refused(call) -> str:
    with pytest.raises(ConfigError) as caught:
        call()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def equals_state(path: Path) -> bool:
    loaded = load_weights(path)
    return list(loaded) == list(STATE) and all(torch.equal(loaded[key], STATE[key]) for key in STATE)


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_a_download_goes_into_the_cache_of_the_hub_and_happens_once(hub, caches, capsys, name):
    (save_file if name.endswith("safetensors") else torch.save)(STATE, hub / name)
    digest = hashlib.sha256((hub / name).read_bytes()).hexdigest()
    found = find_weights(BACKBONE)
    assert (found.path.name, found.sha256, equals_state(found.path)) == (name, digest, True)
    assert found.path.is_relative_to(caches)
    assert "fetching http://127.0.0.1" in capsys.readouterr().out
    (hub / name).unlink()
    assert find_weights(BACKBONE, download=False) == found


@pytest.mark.parametrize("ending", [".safetensors", ".pth", ".bin"])
def test_a_file_in_the_folder_wins_whatever_its_format(tmp_path, ending):
    folder = tmp_path / "weights"
    folder.mkdir()
    path = folder / f"{MODEL}{ending}"
    (save_file if ending == ".safetensors" else torch.save)(STATE, path)
    assert find_weights(BACKBONE, folder).path == path
    assert equals_state(path)


def test_without_network_the_error_names_the_file_the_folder_and_the_address(tmp_path):
    message = refused(lambda: find_weights(BACKBONE))
    assert message.startswith(
        f"no weights of {BACKBONE} (cannot fetch them: [Errno 111] Connection refused); download "
    )
    assert message.endswith(
        f"http://127.0.0.1:1/timm/{MODEL}/resolve/main/model.safetensors and put it as {MODEL}.safetensors or "
        f"{MODEL}.pth into a folder named with --weights-dir"
    )
    (tmp_path / "mine").mkdir()
    assert f"put it into {tmp_path / 'mine'} as {MODEL}.safetensors" in refused(
        lambda: find_weights(BACKBONE, tmp_path / "mine")
    )


def test_a_model_that_the_hub_does_not_have_is_refused_in_one_line(hub):
    assert refused(lambda: find_weights(BACKBONE)).startswith(f"no weights of {BACKBONE} (cannot fetch them: ")


def test_offline_mode_is_obeyed(hub, monkeypatch):
    save_file(STATE, hub / "model.safetensors")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "(cannot fetch them: HF_HUB_OFFLINE is set)" in refused(lambda: find_weights(BACKBONE))


def test_a_name_without_a_tag_means_the_weights_that_timm_loads_by_default():
    found = timm_weights("timm:resnet18")
    assert found.hub == "timm/resnet18.a1_in1k"
    assert {"resnet18.safetensors", "resnet18.a1_in1k.safetensors"} <= set(found.file_names)


def test_a_model_without_published_weights_says_so():
    assert "timm publishes no weights of vit_small_patch16_18x2_224" in refused(
        lambda: timm_weights("timm:vit_small_patch16_18x2_224")
    )


@pytest.mark.parametrize("share", [0, 0.5, 0.99])
def test_a_damaged_file_of_safetensors_is_refused(tmp_path, share):
    path = tmp_path / "model.safetensors"
    save_file(STATE, path)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    assert refused(lambda: load_weights(path)) == f"{path} is damaged, or no file of safetensors; download it again"
