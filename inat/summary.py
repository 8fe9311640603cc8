"""The layers of one network of the search space.

python -m inat.summary --first-layer-filters 64 --conv-layers 5 --num-neurons-dense 256 --image-size 224
"""

from dataclasses import dataclass

import torch
from rich.console import Console
from rich.table import Table

from inat.cli import run_command
from inat.config.trial import FLATTEN, PLAIN, CNNConfig
from inat.config.validation import positive_errors, raise_if_any
from inat.models.cnn import build_cnn, summarise


@dataclass(frozen=True, kw_only=True, slots=True)
class SummaryCommand:
    """Print the layers of one network: name, output shape, parameters."""

    first_layer_filters: int = 128
    """Filters of the first convolution."""
    filter_org: float = 1
    """Factor from one convolution's filters to the next one's."""
    conv_layers: int = 5
    """Convolution blocks."""
    activation: str = "gelu"
    """relu, gelu, silu or mish."""
    dropout: float = 0.3
    """Share of dense outputs dropped in training."""
    batch_norm: bool = True
    """Batch norm after each convolution."""
    num_neurons_dense: int = 512
    """Outputs of the dense layer."""
    block: str = PLAIN
    """plain or residual."""
    pooling: str = FLATTEN
    """flatten, then the dense layer; or average or maximum of each feature map, without one."""
    image_size: int = 224
    """Side of the image in pixels."""
    num_classes: int = 10
    """Outputs of the network."""


def print_summary(command: SummaryCommand) -> None:
    """Print the table that ``SummaryCommand`` asks for."""
    raise_if_any(positive_errors(command, "image_size", "num_classes"))
    names = CNNConfig.__dataclass_fields__
    with torch.device("meta"):  # shapes and counts need no memory
        network = build_cnn(
            CNNConfig(**{n: getattr(command, n) for n in names if hasattr(command, n)}),
            command.image_size,
            command.num_classes,
        )
        rows = summarise(network, command.image_size)
    table = Table("layer", "output shape")
    table.add_column("parameters", justify="right")
    for row in rows:
        table.add_row(row.name, " x ".join(map(str, row.output_shape)), f"{row.parameters:,}")
    table.add_section()
    table.add_row("total", "", f"{sum(row.parameters for row in rows):,}")
    Console().print(table)


if __name__ == "__main__":
    run_command(SummaryCommand, print_summary)
