"""The settings of the CNN that is trained from scratch."""

from dataclasses import dataclass

from inat.config.validation import choice_errors, positive_errors, raise_if_any, range_errors, type_errors

ACTIVATIONS = ("relu", "gelu", "silu", "mish")
BLOCKS = (PLAIN, RESIDUAL) = ("plain", "residual")
POOLINGS = (FLATTEN, AVERAGE, MAXIMUM) = ("flatten", "average", "maximum")


@dataclass(frozen=True, kw_only=True, slots=True)
class CNNConfig:
    """The CNN published for nature_12K: blocks of 3x3 convolution, [batch norm], activation, max-pool 2; then dense.

    With ``block`` "residual", all blocks but the first are residual. With ``pooling`` "average" or "maximum", the
    average or maximum of each feature map goes straight into the output layer, without a dense layer, and
    ``num_neurons_dense`` has no effect.
    """

    first_layer_filters: int
    filter_org: float
    conv_layers: int
    activation: str
    dropout: float
    batch_norm: bool
    num_neurons_dense: int = 0
    block: str = PLAIN
    pooling: str = FLATTEN

    def __post_init__(self) -> None:
        problems = type_errors(self) + positive_errors(self, "first_layer_filters", "filter_org", "conv_layers")
        problems += range_errors(self, "dropout", 0, 1) + choice_errors(self, "activation", ACTIVATIONS)
        problems += choice_errors(self, "block", BLOCKS) + choice_errors(self, "pooling", POOLINGS)
        if self.pooling == FLATTEN:
            problems += positive_errors(self, "num_neurons_dense")
        raise_if_any(problems)

    @property
    def filters(self) -> tuple[int, ...]:
        """Number of filters of convolution i: ``first_layer_filters * filter_org**i``, at least 1."""
        return tuple(max(1, int(self.first_layer_filters * self.filter_org**i)) for i in range(self.conv_layers))
