"""Names of the costs that a search can weigh against its metric, and of what it can do about them."""

from typing import Final

PARAMETERS: Final = "parameters"
EPOCH_SECONDS: Final = "epoch-seconds"
OFF: Final = "off"
NOISE: Final = "noise"
SHARES: Final = ("accuracy", "top2")  # metrics that are shares of the images, whose standard error is binomial
