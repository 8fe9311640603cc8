"""Small residual networks, and every other network that is trained from scratch."""

from collections import OrderedDict

from torch import Tensor, nn

from inat.config.cnn import AVERAGE, CNNConfig
from inat.config.small_resnet import ScratchNetwork, SmallResNetConfig, stem_errors
from inat.config.validation import raise_if_any
from inat.models.cnn import ACTIVATION_LAYERS, Activation, ConvolutionalNetwork, Layers, build_cnn
from inat.models.pool_layout import keep_layout


def build_scratch(config: ScratchNetwork, image_size: int, num_classes: int) -> ConvolutionalNetwork:
    """The network that ``config`` describes, with random weights; ConfigError if the images are too small for it."""
    if isinstance(config, CNNConfig):
        return build_cnn(config, image_size, num_classes)
    return build_small_resnet(config, image_size, num_classes)


def build_small_resnet(config: SmallResNetConfig, image_size: int, num_classes: int) -> ConvolutionalNetwork:
    """A network (N, 3, image_size, image_size) -> logits (N, num_classes).

    The stem is a convolution, batch norm and activation; the stages are ResidualStages. The head is a global maximum or
    average, flatten, dropout, output. Raises ConfigError if the stages would leave no pixel.
    """
    raise_if_any(stem_errors(image_size, config.stem_stride))
    activation, channels = ACTIVATION_LAYERS[config.activation], config.stem_filters
    layers: Layers = OrderedDict()
    # Every pixel counts: where the stride is 4, kernels of 3 px would skip every fourth row and column.
    kernel = max(3, 2 * config.stem_stride - 1)
    layers["stem_conv"] = nn.Conv2d(3, channels, kernel, config.stem_stride, kernel // 2, bias=False)
    layers["stem_norm"] = nn.BatchNorm2d(channels)
    layers["stem_act"] = activation()
    for number, filters in enumerate(config.filters(image_size), start=1):
        layers[f"stage{number}"] = ResidualStage(channels, filters, config.depth, activation)
        channels = filters
    layers[config.pooling] = nn.AdaptiveAvgPool2d(1) if config.pooling == AVERAGE else nn.AdaptiveMaxPool2d(1)
    layers["flatten"] = nn.Flatten()
    layers["dropout"] = nn.Dropout(config.dropout)
    layers["output"] = nn.Linear(channels, num_classes)
    network = ConvolutionalNetwork(layers)
    keep_layout(network)
    return network


class ResidualStage(nn.Module):
    """(N, in_channels, H, W) -> (N, out_channels, H // 2, W // 2): ``depth`` times conv 3x3, batch norm, activation.

    The first convolution has a max-pool 2 directly after it, so that norm and activation have a quarter of the work.
    The output of the others together is added to that of the first one. No convolution has a bias, which batch norm
    would take away again.
    """

    def __init__(self, in_channels: int, out_channels: int, depth: int, activation: Activation) -> None:
        super().__init__()
        self.conv1 = _convolution(in_channels, out_channels)
        self.pool = nn.MaxPool2d(2)
        self.norm1 = nn.BatchNorm2d(out_channels)
        self.act1 = activation()
        branch: Layers = OrderedDict()
        for number in range(2, depth + 1):
            branch[f"conv{number}"] = _convolution(out_channels, out_channels)
            branch[f"norm{number}"] = nn.BatchNorm2d(out_channels)
            branch[f"act{number}"] = activation()
        self.branch = nn.Sequential(branch) if branch else None

    def forward(self, images: Tensor) -> Tensor:
        """Feature maps of half the side."""
        flow: Tensor = self.act1(self.norm1(self.pool(self.conv1(images))))
        return flow if self.branch is None else flow + self.branch(flow)


def _convolution(in_channels: int, out_channels: int) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False)
