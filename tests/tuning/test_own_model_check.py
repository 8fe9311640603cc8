"""What is wrong with a user's network is one sentence before the search."""

import pytest
import torch

from inat.config.finetune import FinetuneConfig
from inat.config.search import SearchConfig
from inat.errors import ConfigError
from inat.tuning.own_model_check import check_own_model
from inat.tuning.space.presets import space_of
from tests.own_networks import MODULE, PLAIN, STAGED, allowed, write_net

HEAD = "import torch\nfrom torch import nn\n\n\n"


def check(folder, text: str, function: str = "build", kind=SearchConfig, num_classes: int = 10, **options):
    file = allowed(write_net(folder, text), function)
    config = kind(data="digits", image_size=8, model=f"{file.path}:{function}", **options)
    return check_own_model(config, space_of(config), num_classes)


def net(forward: str, layers: str = "self.out = nn.Linear(192, num_classes)", more: str = "") -> str:
    """A file with one network; line 10 is the first of forward()."""
    return (
        f"{HEAD}class Net(nn.Module):\n    def __init__(self, num_classes):\n        super().__init__()\n"
        f"        {layers}\n"
        f"    def forward(self, x):\n        {forward}\n\n\ndef build(num_classes, image_size{more}):\n"
        "    return Net(num_classes)\n"
    )


def test_networks_that_can_be_trained_pass(tmp_path):
    assert check(tmp_path, PLAIN).parameters > 0
    assert check(tmp_path, STAGED).stages == 0
    assert check(tmp_path, STAGED, kind=FinetuneConfig, k_layers=(1,)).stages == 3
    assert check(tmp_path, MODULE, "MyModule").parameters > 0
    assert check(tmp_path, net("return self.out(x.flatten(1))")).parameters == 1930


@pytest.mark.parametrize(("text", "message"), [
    (net("return self.out(x.flatten(1))").replace("num_classes)\n    def", "7)\n    def"),
     r"gives outputs of shape \(4, 7\) for 4 images and 10 classes; they must be \(4, 10\): end it with num_classes"),
    (net("return self.out(x.flatten(1))").replace("num_classes)\n    def", "10)\n    def"),
     r"build\(\) of my_net.py ignores num_classes: its network for 11 classes has 10 outputs; use num_cl"),
    (net("return self.out(x)"), "my_net.py, line 10: the network in evaluation with 4 images of 8 px raised "),
    (net("return self.out(x.view(len(x), -1))"), "line 10: .* raised RuntimeError .view size is not compatible"),
    (net("return (self.out(x.flatten(1)), x)"), "gives tuple, not a tensor of logits .N, num_classes.; return"),
    (net("return self.out(x.flatten(1)).argmax(1)"), r"gives outputs of shape \(4,\)"),
    (net("return self.out(x.flatten(1)).round().long()"), "gives numbers of type torch.int64; return"),
    (net("return self.out(x.flatten(1)).detach()"), "no gradient reaches a parameter of build.. of my_net.py"),
    (net("return self.out(x.flatten(1)) / 0"), "gives infinite or NaN outputs for noise"),
    (net("return self.out(x.flatten(1)).softmax(1)"), "gives probabilities; return logits, without softmax"),
    (net("return (self.out(x.flatten(1)) * 0).sqrt()"), "has gradients that are infinite or NaN in its first step"),
    (net("return x.flatten(1)[:, :self.n]", layers="self.n = num_classes"), "has no parameter to train; "),
    (net("return self.out(x.flatten(1))", layers="self.out = nn.Linear(192, num_classes, device='meta')"),
     "puts its network on meta; leave it on the CPU"),
    (net("return self.out(x.flatten(1))", more=", width"), r"needs a value of width; give it a default, or "),
    (net("return self.out(x.flatten(1))", more=", batch_size=3"), "has an argument batch_size, which is the name of a"),
    (net("return self.out(x.flatten(1))", more=", seconds=3"), "has an argument seconds, which is the name of"),
    (net("return self.out(x.flatten(1))", more=", pooling='average', num_neurons_dense=3"),
     "has arguments pooling and num_neurons_dense, which mean the CNN of this program; rename one of them"),
    (f"{net('return self.out(x.flatten(1))')}\n\ndef space():\n    return {{'widht': 3}}",
     "widht is no argument of build.. of my_net.py and no setting of the training; choose"),
    (f"{net('return self.out(x.flatten(1))')}\n\ndef space():\n    return [1]", "space.. of .* must return a dict"),
    (f"{net('return self.out(x.flatten(1))')}\n\ndef space():\n    return {{'strategy': 'freeze_all'}}",
     r"strategy needs a function stages\(model\) in .*, and tune_finetune.py"),
    (f"{net('return self.out(x.flatten(1))')}\n\ndef space():\n    raise OSError('gone')",
     r"my_net.py, line 18: space\(\) raised OSError \(gone\)"),
])  # fmt: skip
def test_a_network_that_cannot_be_trained_is_one_sentence(tmp_path, text, message):
    with pytest.raises(ConfigError, match=message) as caught:
        check(tmp_path, text)
    assert "\n" not in str(caught.value)


def test_a_fault_of_a_single_value_names_it(tmp_path):
    text = PLAIN.replace("tune.choice([4, 8])", "tune.choice([4, 0])")
    with pytest.raises(ConfigError, match=r"raised RuntimeError .* \(with width=0\)$"):
        check(tmp_path, text)
    short = PLAIN.replace(
        "nn.Linear(16 * width, num_classes)", "nn.Linear(16 * width, num_classes if width < 8 else 3)"
    )
    with pytest.raises(ConfigError, match=r"gives outputs of shape \(4, 3\) .* \(with width=8\)"):
        check(tmp_path, short)


@pytest.mark.parametrize(("old", "new", "message"), [
    ("def training_step", "def other_step", r"MyModule\(\) of my_net.py is a LightningModule without training_step"),
    ("def forward", "def other_forward", "is a LightningModule without forward; define them"),
    ("self.epochs = 0", "self.automatic_optimization = False", "sets automatic_optimization to False, which"),
    ("return loss", "return 0.5", "training_step of MyModule must return the loss as a tensor, .* got float"),
    ("return loss", "raise KeyError('x')", r"my_net.py, line 25: its first training step raised KeyError .'x'.;"),
    ("return loss", "return loss * 0", "the first training step of MyModule.. of my_net.py changes no parameter"),
    ("return loss", "return loss / 0", "the first training step of MyModule.. of .* leaves infinite or NaN parameters"),
    ("width=4", "ema_decay_of=4, data=3", "has an argument data, which is the name of"),
])  # fmt: skip
def test_a_lightning_module_that_cannot_be_trained_is_one_sentence(tmp_path, old, new, message):
    with pytest.raises(ConfigError, match=message):
        check(tmp_path, MODULE.replace(old, new), "MyModule")


@pytest.mark.parametrize(("old", "new", "message"), [
    ("model.block, model.pool)", "model.block, nn.ReLU(), model.pool, nn.Tanh())", "does not compute what the network"),
    ('"stem": model.stem, ', "", "my_net.py.*: the stages one after the other raised RuntimeError"),
])  # fmt: skip
def test_stages_that_are_not_the_network_are_one_sentence(tmp_path, old, new, message):
    with pytest.raises(ConfigError, match=message):
        check(tmp_path, STAGED.replace(old, new), kind=FinetuneConfig, k_layers=(1,))


def test_more_stages_than_there_are_cannot_train(tmp_path):
    with pytest.raises(ConfigError, match="k_layers 2 would train all 2 stages before the head of build"):
        check(tmp_path, STAGED, kind=FinetuneConfig, k_layers=(1, 2))
    with pytest.raises(ConfigError, match=r"k_layers must be in 1..2 for freeze_partial of my_net, got 3"):
        check(tmp_path, STAGED, kind=FinetuneConfig, k_layers=(3,))


def test_the_check_leaves_the_random_numbers_as_they_are(tmp_path):
    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    check(tmp_path, PLAIN)
    assert torch.rand(1) == expected
