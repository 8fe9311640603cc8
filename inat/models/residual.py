"""The residual block of the network family."""

from collections.abc import Callable

from torch import Tensor, nn


class ResidualBlock(nn.Module):
    """(N, in_channels, H, W) -> (N, out_channels, H // 2, W // 2): a convolution, and a second one beside a shortcut.

    Both are conv 3x3, [batch norm], activation. The first has a max-pool 2 behind its convolution, so that norm and
    activation have a quarter of the work; the result of the second is added to that of the first.
    """

    def __init__(
        self, in_channels: int, out_channels: int, activation: Callable[[], nn.Module], *, batch_norm: bool
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=not batch_norm)
        self.pool = nn.MaxPool2d(2)
        self.norm1 = nn.BatchNorm2d(out_channels) if batch_norm else nn.Identity()
        self.act1 = activation()
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=not batch_norm)
        self.norm2 = nn.BatchNorm2d(out_channels) if batch_norm else nn.Identity()
        self.act2 = activation()

    def forward(self, images: Tensor) -> Tensor:
        """Feature maps of half the side."""
        flow: Tensor = self.act1(self.norm1(self.pool(self.conv1(images))))
        added: Tensor = self.act2(self.norm2(self.conv2(flow)))
        return flow + added
