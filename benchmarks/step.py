"""Time a training step of inat's network against that of the published order of its layers.

    python benchmarks/step.py --activation mish
    python benchmarks/step.py --precision 32-true

Both networks have the same weights, images and precision, in inat's memory layout. The sides alternate; the
unit is milliseconds of the processor for the forward and the backward pass, on one thread. The two steps must agree in
every bit of the loss and of all gradients.
"""

import time
from dataclasses import dataclass

import classic
import torch
import tyro
from measure import hardware, print_report, ratios
from torch import Tensor, nn
from torch.nn import functional

from inat.config.cnn import CNNConfig
from inat.config.trial import Precision
from inat.models.cnn import build_cnn
from inat.training.memory import keep_freed_memory
from inat.training.precision import autocast

CLASSES = 10


@dataclass(frozen=True, kw_only=True)
class Options:
    """Measure steps side by side."""

    activation: str = "relu"
    batch_norm: bool = True
    first_layer_filters: int = 32
    filter_org: float = 1
    conv_layers: int = 3
    num_neurons_dense: int = 128
    image_size: int = 64
    batch_size: int = 64
    precision: Precision = "bf16-mixed"
    rounds: int = 9

    def network(self) -> CNNConfig:
        """The network of both sides, without dropout, which would draw other numbers for each."""
        names = ("activation", "batch_norm", "first_layer_filters", "filter_org", "conv_layers", "num_neurons_dense")
        return CNNConfig(dropout=0.0, **{name: getattr(self, name) for name in names})


def step(net: nn.Module, images: Tensor, labels: Tensor, precision: Precision) -> tuple[float, list[Tensor]]:
    """Milliseconds of one step, and its loss and gradients."""
    net.zero_grad()
    started = time.process_time()
    with autocast(precision, "cpu"):
        logits = net(images)
    loss = functional.cross_entropy(logits.float(), labels)
    loss.backward()
    seconds = time.process_time() - started
    return 1000 * seconds, [loss.detach(), *(p.grad for p in net.parameters() if p.grad is not None)]


def main() -> None:
    """Alternate the two networks, print a table, then the result line."""
    options = tyro.cli(Options)
    print(f"{hardware()}\n{options}")
    keep_freed_memory()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    inat = build_cnn(options.network(), options.image_size, CLASSES)
    published = classic.network(options.network(), options.image_size, CLASSES)
    for own, other in zip(published.parameters(), inat.parameters(), strict=True):
        own.data.copy_(other.data)
    sides = {"published": published, "inat": inat}
    images = torch.randn(options.batch_size, 3, options.image_size, options.image_size)
    images = images.contiguous(memory_format=torch.channels_last)
    labels = torch.arange(options.batch_size) % CLASSES
    parts: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(-2, options.rounds):  # two to warm up
        results = {}
        for name, net in sides.items():
            net.train().to(memory_format=torch.channels_last)
            milliseconds, results[name] = step(net, images, labels, options.precision)
            if number >= 0:
                parts[name].append(milliseconds)
        assert all(torch.equal(a, b) for a, b in zip(results["published"], results["inat"], strict=True))
    parts["share"] = ratios(parts["inat"], parts["published"])
    print_report(parts)


if __name__ == "__main__":
    main()
