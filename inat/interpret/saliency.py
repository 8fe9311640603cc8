"""The picture of one photograph with Grad-CAM for its predicted class and the guided gradients of some neurons."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from inat.inference import Model
from inat.interpret.examples import Example, Source, as_input, example
from inat.interpret.grad_cam import grad_cam
from inat.interpret.guided_backprop import guided_gradients, random_neurons
from inat.interpret.layers import last_convolution, last_maps, outputs_of
from inat.interpret.pictures import Floats, around_grey, new_figure, output_folder, save, shortened, show

NEURONS = 10
COLUMNS = 4


def draw_saliency(model: Model, source: Source, photo: Path | None) -> None:
    """Write guided-backprop.png: the photograph, Grad-CAM for the predicted class, ten neurons."""
    seen = example(model, source, photo)
    net, image = model.loaded.classifier.net, as_input(model, seen)
    layer = last_convolution(net, image.unsqueeze(0))
    with outputs_of({layer.name: layer.module}, lambda output: output.detach().clone()) as outputs:
        net(image.unsqueeze(0))
    maps = layer.maps(outputs[layer.name])[0].cpu()
    neurons = random_neurons(maps.shape, NEURONS, source.seed)
    gradients = guided_gradients(net, image, layer, neurons).permute(0, 2, 3, 1).cpu().numpy()
    confidences = model.confidences(seen.image[None])[0]
    best = int(confidences.argmax())
    heat = grad_cam(net, image, best).cpu().numpy()
    names = [f"map {n.channel} at ({n.row}, {n.column})\nvalue {float(maps[n]):.3g}" for n in neurons]
    said = f"said {shortened(model.classes[best], 18)} {confidences[best]:.0%}"
    of = f"{layer.name}, {len(maps):,} maps of {maps.shape[1]} x {maps.shape[2]}"
    title = f"Guided back-propagation of {len(neurons)} random neurons of {of}"
    cam = f"Grad-CAM for {shortened(model.classes[best], 14)}\n{shortened(last_maps(net, image.unsqueeze(0)).name, 24)}"
    save(
        draw(seen, said, cam, heat, list(zip(names, gradients, strict=True)), title),
        output_folder(source) / "guided-backprop.png",
    )


def draw(
    photo: Example, said: str, cam: str, heat: Floats, neurons: Sequence[tuple[str, Floats]], title: str
) -> Figure:
    """``photo``, ``heat`` (S, S) over it under the title ``cam``, and each neuron's gradient (S, S, 3), 0 in grey."""
    rows = -(-(len(neurons) + 2) // COLUMNS)
    figure = new_figure(2.2 * COLUMNS, 2.55 * rows + 0.5)
    figure.suptitle(title, fontsize=11)
    places = figure.subplots(rows, COLUMNS, squeeze=False).flatten()
    show(places[0], photo.image)
    places[0].set_title(f"{f'is {photo.label}' if photo.label else photo.name}\n{said}", fontsize=9)
    show(places[1], photo.image.mean(2), cmap="gray", vmin=0, vmax=255)
    peak = float(heat.max())
    places[1].imshow(heat / (peak or 1), cmap="turbo", vmin=0, vmax=1, alpha=0.5)
    places[1].set_title(cam if peak > 0 else f"{cam}: nothing speaks for it", fontsize=9)
    for axes, (name, gradient) in zip(places[2:], neurons, strict=False):
        show(axes, around_grey(gradient))
        axes.set_title(name if np.any(gradient) else f"{name}, no gradient", fontsize=9)
    for axes in places[2 + len(neurons) :]:
        axes.set_axis_off()
    return figure
