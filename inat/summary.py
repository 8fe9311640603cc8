"""Print the layers of one network of a search space: name, output shape, parameters.

python -m inat.summary --first-layer-filters 64 --conv-layers 5 --num-neurons-dense 256 --image-size 224
python -m inat.summary --block residual --pooling average --no-batch-norm
python -m inat.summary --width 64 --stem-stride 2 --image-size 64
"""

from dataclasses import dataclass, fields
from typing import Annotated, ClassVar

from inat.cli import run_command
from inat.config.cnn import ACTIVATIONS, AVERAGE, BLOCKS, FLATTEN, PLAIN, POOLINGS, CNNConfig
from inat.config.defaults import UNSET
from inat.config.small_resnet import ScratchNetwork, SmallResNetConfig
from inat.config.validation import positive_errors, raise_if_any

MAX_LAYERS = 16  # for which the default image grows: 65,536 px


@dataclass(frozen=True, kw_only=True, slots=True)
class SummaryCommand:
    """Options of the command: the fields of both families of networks, and what else decides the shapes."""

    OPTION_GROUPS: ClassVar[dict[str, tuple[str, ...]]] = {
        "data": ("image_size", "num_classes"),
        "model": (
            "first_layer_filters", "filter_org", "conv_layers", "activation", "dropout", "batch_norm",
            "num_neurons_dense", "block", "pooling", "width", "depth", "stem_filters", "stem_stride",
        ),
    }  # fmt: skip

    first_layer_filters: int = 128
    """Filters of the first convolution."""
    filter_org: float = 1
    """Number of filters relative to the convolution before: each has X times as many."""
    conv_layers: int = UNSET
    """Convolution blocks, each of which halves the image. Default: 5, or fewer if --image-size is small."""
    activation: Annotated[str, "|".join(ACTIVATIONS)] = "gelu"
    """Activation function after each convolution and the dense layer."""
    dropout: float = 0.3
    """Share of the dense layer's outputs that training drops."""
    batch_norm: bool = True
    """Batch norm after each convolution."""
    num_neurons_dense: int = 512
    """Outputs of the dense layer."""
    block: Annotated[str, "|".join(BLOCKS)] = PLAIN
    """Kind of all blocks but the first."""
    pooling: Annotated[str, "|".join(POOLINGS)] = FLATTEN
    """From feature maps to the classes: flatten them into a dense layer, or take each one's average or maximum."""
    width: int | None = None
    """Filters of the first stage of a small residual network, as in the space modern. Its other options are depth,
    stem_filters, stem_stride, pooling, activation and dropout. Default: the CNN of the other options."""
    depth: int = 2
    """Convolutions of each stage, with --width."""
    stem_filters: int = 32
    """Filters of the first convolution, with --width."""
    stem_stride: int = 1
    """Every how many pixels the first convolution is computed, with --width."""
    image_size: int = UNSET
    """Side of the square images, in pixels. Default: 224, or more if --conv-layers needs it."""
    num_classes: int = 10
    """Outputs of the network."""

    def __post_init__(self) -> None:
        if self.image_size is UNSET:
            least = 2**self.conv_layers if self.conv_layers and 0 < self.conv_layers <= MAX_LAYERS else 0
            object.__setattr__(self, "image_size", max(224, least))
        if self.conv_layers is UNSET:
            object.__setattr__(self, "conv_layers", min(5, max(self.image_size, 2).bit_length() - 1))


def network_of(command: SummaryCommand) -> ScratchNetwork:
    """The network that the options describe; ConfigError if their values are impossible."""
    given = {name: getattr(command, name) for name in SummaryCommand.OPTION_GROUPS["model"]}
    if command.width is None:
        return CNNConfig(**{field.name: given[field.name] for field in fields(CNNConfig)})
    given["pooling"] = AVERAGE if command.pooling == FLATTEN else command.pooling
    return SmallResNetConfig(**{field.name: given[field.name] for field in fields(SmallResNetConfig)})


def print_summary(command: SummaryCommand) -> None:
    """Print the table; ConfigError for a network that cannot be built."""
    raise_if_any(positive_errors(command, "image_size", "num_classes"))
    config = network_of(command)
    # torch loads only after the options are known to be right.
    import torch
    from rich.console import Console
    from rich.table import Table

    from inat.models.cnn import summarise
    from inat.models.small_resnet import build_scratch

    with torch.device("meta"):  # shapes and counts need no memory
        rows = summarise(build_scratch(config, command.image_size, command.num_classes), command.image_size)
    table = Table("layer", "output shape")
    table.add_column("parameters", justify="right")
    for row in rows:
        table.add_row(row.name, " x ".join(map(str, row.output_shape)), f"{row.parameters:,}")
    table.add_section()
    table.add_row("total", "", f"{sum(row.parameters for row in rows):,}")
    Console().print(table)


if __name__ == "__main__":
    run_command(SummaryCommand, print_summary)
