"""Draw what a trained model predicts, and what its layers respond to.

python -m inat.interpret all results/STUDY                  # all pictures, and index.html to look at them
python -m inat.interpret predictions results/STUDY          # three test photos per class, mistakes in red frames
python -m inat.interpret predictions results/STUDY --worst  # the mistakes with the highest confidence
python -m inat.interpret filters results/STUDY              # feature maps and kernels of the convolution layers
python -m inat.interpret guided-backprop results/STUDY --photo photo.jpg  # guided back-propagation and Grad-CAM
"""

from pathlib import Path
from typing import Annotated

import tyro

from inat.cli import run_app
from inat.interpret.examples import InterpretOptions, Layout
from inat.models.own_code import allow_named
from inat.training.inference import Model, open_model

LayerOption = Annotated[str | None, "NAME"]

app = tyro.extras.SubcommandApp()


@app.command(name="all")
def everything(
    common: InterpretOptions,
    photo: Annotated[Path | None, "FILE"] = None,
    layer: LayerOption = None,
    layout: Layout = "published",
) -> None:
    """Draw all pictures and write index.html, one page that shows and explains them.

    Args:
        common: The model and its test photos.
        photo: Photo to look at. Default: a random one of the test split; --seed chooses it.
        layer: Layer to look into. Default: the last convolution, and the maps of four layers.
        layout: Predictions with one row per class (published), or one column per class (wide).
    """
    from inat.interpret.everything import draw_all

    draw_all(_open(common), common, photo, layer, layout)


@app.command
def predictions(common: InterpretOptions, worst: bool = False, layout: Layout = "published") -> None:
    """Draw three test photos per class with their file, classes and confidence.

    Args:
        common: The model and its test photos.
        worst: Draw the mistakes with the highest confidence instead.
        layout: One row of three photos per class (published), or one column per class (wide).
    """
    from inat.interpret.predictions import draw_predictions

    draw_predictions(_open(common), common, worst=worst, layout=layout)


@app.command
def filters(
    common: InterpretOptions,
    photo: Annotated[Path | None, "FILE"] = None,
    layers: Annotated[tuple[str, ...], "NAME ..."] = (),
) -> None:
    """Draw the first 64 feature maps and kernels of each convolution layer.

    Args:
        common: The model and its test photos.
        photo: Photo to look at. Default: a random one of the test split; --seed chooses it.
        layers: Layers to draw, by the names in the pictures' titles. Default: all convolution layers.
    """
    from inat.interpret.filters import draw_filters

    draw_filters(_open(common), common, photo, layers)


@app.command
def guided_backprop(
    common: InterpretOptions, photo: Annotated[Path | None, "FILE"] = None, layer: LayerOption = None
) -> None:
    """Draw what a prediction rests on, and what active and random neurons respond to.

    Args:
        common: The model and its test photos.
        photo: Photo to look at. Default: a random one of the test split; --seed chooses it.
        layer: Layer of the neurons and of Grad-CAM. Default: the last convolution.
    """
    from inat.interpret.explanations import draw_saliency

    draw_saliency(_open(common), common, photo, layer)


def _open(common: InterpretOptions) -> Model:
    allow_named(common.own_model)
    return open_model(common.model)


def main() -> None:
    """Run one command; wrong input is one line and exit code 2."""
    run_app(app, __doc__ or "")


if __name__ == "__main__":
    main()
