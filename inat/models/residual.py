"""The residual block of the network family."""

from collections.abc import Callable

from torch import Tensor, nn


class ResidualBlock(nn.Module):
    """(N, in_channels, H, W) -> (N, out_channels, H / 2, W / 2): two convolutions beside a shortcut.

    The first convolution has stride 2, the shortcut is a mean over 2x2 pixels and a convolution 1x1. Of odd sides, the
    half is rounded up. With batch norm the last one begins at 0, so that a new block hands on its shortcut alone.
    """

    def __init__(
        self, in_channels: int, out_channels: int, activation: Callable[[], nn.Module], *, batch_norm: bool
    ) -> None:
        super().__init__()
        self.conv1 = _convolution(in_channels, out_channels, batch_norm, stride=2)
        self.norm1 = _norm(out_channels, batch_norm)
        self.act1 = activation()
        self.conv2 = _convolution(out_channels, out_channels, batch_norm)
        self.norm2 = _norm(out_channels, batch_norm)
        self.shortcut = nn.Sequential(
            nn.AvgPool2d(2, ceil_mode=True), nn.Conv2d(in_channels, out_channels, 1, bias=not batch_norm),
            _norm(out_channels, batch_norm),
        )  # fmt: skip
        self.act2 = activation()
        if isinstance(self.norm2, nn.BatchNorm2d):
            nn.init.zeros_(self.norm2.weight)

    def forward(self, images: Tensor) -> Tensor:
        """Feature maps of half the side, rounded up."""
        flow = self.act1(self.norm1(self.conv1(images)))
        flow = self.norm2(self.conv2(flow)) + self.shortcut(images)
        out: Tensor = self.act2(flow)
        return out


def _convolution(in_channels: int, out_channels: int, batch_norm: bool, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=not batch_norm)


def _norm(channels: int, batch_norm: bool) -> nn.Module:
    return nn.BatchNorm2d(channels) if batch_norm else nn.Identity()
