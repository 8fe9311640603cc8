"""Pictures of what a trained model does.

python -m inat.interpret predictions results/STUDY             # test photos, three a class, wrong ones framed red
python -m inat.interpret predictions results/STUDY --worst     # the most confident mistakes
python -m inat.interpret filters results/STUDY                 # feature maps and kernels of every convolution layer
python -m inat.interpret guided-backprop results/STUDY --photo photo.jpg    # with Grad-CAM for the predicted class
"""

from pathlib import Path

import tyro
from tyro.conf import OmitArgPrefixes

from inat.cli import guard
from inat.interpret.examples import Source
from inat.training.inference import open_model

app = tyro.extras.SubcommandApp()


@app.command
def predictions(source: OmitArgPrefixes[Source], worst: bool = False) -> None:
    """Draw test photos, three a class, with their class, the predicted one and the confidence.

    Args:
        source: What is looked at.
        worst: The most confident mistakes instead.
    """
    from inat.interpret.predictions import draw_predictions

    draw_predictions(open_model(source.model), source, worst=worst)


@app.command
def filters(source: OmitArgPrefixes[Source], photo: Path | None = None, layers: tuple[str, ...] = ()) -> None:
    """Draw the first 64 feature maps and kernels of each convolution layer, for one photo.

    Args:
        source: What is looked at.
        photo: A photograph. Default: one of the test split, drawn from --seed.
        layers: Names of the layers, as in the pictures' titles. Default: all.
    """
    from inat.interpret.filters import draw_filters

    draw_filters(open_model(source.model), source, photo, layers)


@app.command
def guided_backprop(source: OmitArgPrefixes[Source], photo: Path | None = None) -> None:
    """Draw what raises 10 random neurons of the last convolution layer in one photo, and Grad-CAM.

    Args:
        source: What is looked at.
        photo: A photograph. Default: one of the test split, drawn from --seed.
    """
    from inat.interpret.saliency import draw_saliency

    draw_saliency(open_model(source.model), source, photo)


def main() -> None:
    """Run one command; wrong input is one line and exit code 2."""
    guard(lambda: app.cli(description="Pictures of what a trained model does."))


if __name__ == "__main__":
    main()
