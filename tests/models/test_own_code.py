import json

import pytest

from inat.errors import ConfigError
from inat.models import own_code as own_code_module
from inat.models.own_code import allow_named, own_code
from tests.own_networks import MODULE, PLAIN, STAGED, allowed, write_net


@pytest.fixture(autouse=True)
def nothing_named(monkeypatch):
    monkeypatch.setattr(own_code_module, "_named", {})


def test_a_file_runs_only_if_it_was_named(tmp_path):
    trace = tmp_path / "trace"
    path = write_net(tmp_path, f"open({str(trace)!r}, 'w').close()\n{PLAIN}")
    with pytest.raises(ConfigError, match="my_net.py, a Python file that runs only if you name it; add --model my_net"):
        own_code("0" * 64, "build", "my_net.py:build")
    file = allowed(path)
    assert not trace.exists()
    own_code(file.sha256, "build")
    assert trace.exists()


def test_a_named_file_with_another_content_does_not_count(tmp_path):
    file = allowed(write_net(tmp_path, f"{PLAIN}\n# edited\n"))
    with pytest.raises(ConfigError, match=f"{file.path} differs from the my_net.py of this model, .* is 1111"):
        own_code("1" * 64, "build", "my_net.py:build")


def test_an_edit_after_the_file_was_named_changes_nothing(tmp_path):
    path = write_net(tmp_path, PLAIN.replace("width=4", "width=6"))
    file = allowed(path)
    path.write_text("raise SystemExit")
    assert own_code(file.sha256, "build").arguments["width"].default == 6


def test_what_a_file_has_is_known_before_a_network_is_built(tmp_path):
    plain = own_code(allowed(write_net(tmp_path, PLAIN)).sha256, "build")
    assert (list(plain.arguments), plain.required, plain.is_module) == (["width", "dropout"], [], False)
    assert plain.stages is None
    staged = own_code(allowed(write_net(tmp_path, STAGED)).sha256, "build")
    assert staged.stages is not None
    module = own_code(allowed(write_net(tmp_path, MODULE)).sha256, "MyModule")
    assert module.is_module


@pytest.mark.parametrize(("text", "message"), [
    ("import no_such_module_xyz", r"my_net.py, line 1: running it raised ModuleNotFoundError \(No module"),
    ("a = 1\n\nb = a / 0", r"line 3: running it raised ZeroDivisionError \(division by zero\); correct it"),
    ("import sys\nsys.exit(3)", r"line 2: running it raised SystemExit \(3\)"),
    ("def net(num_classes, image_size): ...", r"has no function build\(num_classes, image_size\); it has net; name one "
                                              "with --model my_net.py:net"),
    ("x = 1", r"has no function build\(num_classes, image_size\); define one"),
    ("build = 3", r"has no function build"),
    ("def build(classes, size): ...", "does not take num_classes and image_size; begin it with def build"),
    ("def build(num_classes): ...", "does not take image_size;"),
    ("def build(num_classes, image_size, /): ...", "does not take num_classes and image_size"),
    ("stages = 3\ndef build(num_classes, image_size): ...", "stages of .* is no function; define stages"),
])  # fmt: skip
def test_a_file_that_cannot_be_used_is_one_sentence_with_its_line(tmp_path, text, message):
    file = allowed(write_net(tmp_path, text))
    with pytest.raises(ConfigError, match=message) as caught:
        own_code(file.sha256, "build")
    assert "\n" not in str(caught.value)


def test_a_function_may_take_any_arguments(tmp_path):
    code = own_code(allowed(write_net(tmp_path, "def build(**options): ...")).sha256, "build")
    assert code.any_argument
    assert code.arguments == {}


def test_a_class_counts_as_a_function(tmp_path):
    text = (
        "from torch import nn\nclass Net(nn.Module):\n    def __init__(self, num_classes, image_size, depth=2): ...\n"
    )
    code = own_code(allowed(write_net(tmp_path, text), "Net").sha256, "Net")
    assert (list(code.arguments), code.is_module) == (["depth"], False)


def test_no_option_names_no_file(tmp_path):
    allow_named(None)
    with pytest.raises(ConfigError, match="there is no file"):
        allow_named(str(tmp_path / "nowhere.py"))


def test_the_module_of_a_file_can_be_looked_up_by_dataclasses(tmp_path):
    text = (
        "from __future__ import annotations\nimport dataclasses\n@dataclasses.dataclass(slots=True)\n"
        f"class Settings:\n    width: int = 3\nKNOWN = {json.dumps({'a': 1})}\n"
        "def build(num_classes, image_size, width=Settings().width): ..."
    )
    code = own_code(allowed(write_net(tmp_path, text)).sha256, "build")
    assert code.arguments["width"].default == 3
