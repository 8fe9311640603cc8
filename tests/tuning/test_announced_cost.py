"""The cost of a search that is printed before it starts."""

from inat.config.finetune import FinetuneConfig
from inat.tuning.announced_cost import describe_cost

NETWORK = (
    "from torch import nn\n\n\ndef build(num_classes, image_size):\n    return nn.Linear(image_size, num_classes)\n"
)


def test_a_network_of_the_user_has_no_cost_of_backbones(tmp_path):
    file = tmp_path / "net.py"
    file.write_text(NETWORK)
    assert describe_cost(FinetuneConfig(data="digits", image_size=16, model=str(file))) == ""
