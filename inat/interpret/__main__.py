"""Draw what a trained model predicts and what it reacts to.

python -m inat.interpret predictions results/STUDY             # 3 test photos per class; errors in red
python -m inat.interpret predictions results/STUDY --worst     # the most confident errors
python -m inat.interpret filters results/STUDY                 # feature maps and kernels of each convolution layer
python -m inat.interpret guided-backprop results/STUDY --photo photo.jpg    # with Grad-CAM of the predicted class
"""

from pathlib import Path

import tyro
from tyro.conf import OmitArgPrefixes

from inat.cli import guard
from inat.interpret.examples import InterpretOptions
from inat.training.inference import open_model

app = tyro.extras.SubcommandApp()


@app.command
def predictions(common: OmitArgPrefixes[InterpretOptions], worst: bool = False) -> None:
    """Draw 3 test photos per class with true class, prediction and confidence.

    Args:
        common: Options of every command.
        worst: Draw the most confident errors instead.
    """
    from inat.interpret.predictions import draw_predictions

    draw_predictions(open_model(common.model), common, worst=worst)


@app.command
def filters(common: OmitArgPrefixes[InterpretOptions], photo: Path | None = None, layers: tuple[str, ...] = ()) -> None:
    """Draw 64 feature maps and kernels of each convolution layer, for one photo.

    Args:
        common: Options of every command.
        photo: Photo to use. Default: a random test photo, chosen by --seed.
        layers: Names of the layers to draw, as in the titles of the figures. Default: all.
    """
    from inat.interpret.filters import draw_filters

    draw_filters(open_model(common.model), common, photo, layers)


@app.command
def guided_backprop(common: OmitArgPrefixes[InterpretOptions], photo: Path | None = None) -> None:
    """Draw Grad-CAM and guided gradients of 10 random neurons, for one photo.

    Args:
        common: Options of every command.
        photo: Photo to use. Default: a random test photo, chosen by --seed.
    """
    from inat.interpret.saliency import draw_saliency

    draw_saliency(open_model(common.model), common, photo)


def main() -> None:
    """Run one command; an InatError becomes one line on stderr and its exit code."""
    guard(lambda: app.cli(description="Draw what a trained model predicts and what it reacts to."))


if __name__ == "__main__":
    main()
