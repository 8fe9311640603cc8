"""Draw all pictures of a model, and write the page that shows and explains them."""

import shlex
from collections.abc import Sequence
from pathlib import Path

from analysis.run_card import program
from inat.interpret.examples import InterpretOptions, Layout, load_example, network_input
from inat.interpret.explanations import draw_saliency
from inat.interpret.filters import draw_filters
from inat.interpret.images import Picture, output_folder
from inat.interpret.layers import convolutions, named_layer
from inat.interpret.page import Section, write_page
from inat.interpret.predictions import draw_predictions
from inat.training.inference import Model, model_file

PAGE = "index.html"
MAX_LAYERS = 4  # of which the page shows maps and kernels, unless one is named

PREDICTIONS = (
    "Three random test photos per class, as their files are. Above each: its file, its true class, the class that the "
    "model predicts, and the model's confidence. Errors have a red frame."
)
MISTAKES = (
    "Test photos with a wrong prediction, the most confident ones first. Look here for wrong labels, "
    "photos of two classes, and backgrounds that the model takes for the object."
)
REASONS = (
    "Above: one test photo, and three answers to what its prediction rests on. Grad-CAM marks areas, as coarse as the "
    "maps. Integrated gradients mark single pixels. Occlusion covers squares, and measures how much the confidence "
    "falls. What only one of them shows may come from the method. Below: guided back-propagation paints what raises "
    "single neurons of a layer. Grey has no influence. What the most active and the random neurons share, mostly "
    "edges, says little about a single neuron."
)
LAYERS = (
    "What layers make of the same photo, one small image per feature map, and the weights of their kernels. The maps "
    "of early layers usually show edges and colours; later ones are coarser, and respond to parts of the photo."
)


def draw_all(model: Model, options: InterpretOptions, photo: Path | None, layer: str | None, layout: Layout) -> None:
    """Write all pictures as PNG files, and index.html, which shows and explains them.

    Feature maps and kernels are those of ``layer``, by default of four layers from the first to the last. Raises what
    the pictures raise; a network without convolutions has none of its layers.
    """
    net = model.checkpoint.classifier.net
    images = network_input(model, load_example(model, options, photo)).unsqueeze(0)
    layers = convolutions(net, images)
    if layer:
        named_layer(net, images, layer)  # an unknown name ends the command before it draws
    sections = [
        Section("Predictions", PREDICTIONS, _some(draw_predictions(model, options, layout=layout))),
        _mistakes(draw_predictions(model, options, worst=True, layout=layout)),
    ]
    if layers:
        filters = draw_filters(model, options, photo, [layer] if layer in layers else [], MAX_LAYERS)
        sections += [
            Section("One prediction in detail", REASONS, [draw_saliency(model, options, photo, layer)]),
            Section("Layers", LAYERS, filters),
        ]
    else:
        sections.append(Section("Layers", "This network has no convolution layer, so no layer is drawn."))
    file = model_file(options.model)
    write_page(
        sections,
        output_folder(options) / PAGE,
        f"Pictures of the model {_name(file)}",
        _subtitle(model),
        _command(options),
    )


def _some(picture: Picture | None) -> Sequence[Picture]:
    return [] if picture is None else [picture]


def _mistakes(picture: Picture | None) -> Section:
    text = MISTAKES if picture else "The model predicts all test photos correctly."
    return Section("Most confident mistakes", text, _some(picture))


def _name(file: Path) -> str:
    """The study or the checkpoint, in the last two parts of its path: final/ alone would say little."""
    parts = file.absolute().parts[-3:-1]
    return "/".join(part for part in parts if part != "/") or file.name


def _command(options: InterpretOptions) -> str:
    return shlex.join([*program().split(), "all", str(options.model)])


def _subtitle(model: Model) -> str:
    classes = model.classes
    named = ", ".join(classes[:10]) + (", …" if len(classes) > 10 else "")
    return f"{len(classes)} classes ({named}). The network sees photos at {model.image_size} x {model.image_size} px."
