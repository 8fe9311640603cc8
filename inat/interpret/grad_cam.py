"""Grad-CAM (Selvaraju et al. 2017): where in the image the last maps speak for a class."""

import torch
from captum.attr import LayerGradCam
from torch import Tensor, nn
from torch.nn import functional

from inat.interpret.layers import Layer, last_maps, outputs_of


def grad_cam(net: nn.Module, image: Tensor, target: int, layer: Layer | None = None) -> Tensor:
    """A map (S, S) from 0 on of how much each place of ``image`` (3, S, S) speaks for the logit of class ``target``.

    Each map of ``layer``, by default ``last_maps``, is weighed with the mean of the logit's gradient over it; of the
    sum what is above zero counts. It is as coarse as these maps, and interpolated to the image's size.
    """
    layer = layer or last_maps(net, image.unsqueeze(0))
    # Frozen stages ask for no gradients unless the image does.
    images = image.unsqueeze(0).clone().requires_grad_()
    if layer.tokens:
        coarse = _of_tokens(net, images, target, layer)
    else:
        coarse = LayerGradCam(net, layer.module).attribute(images, target, relu_attributions=True)
    fine = functional.interpolate(coarse.detach().float(), image.shape[1:], mode="bilinear", align_corners=False)
    return fine[0, 0]


def _of_tokens(net: nn.Module, images: Tensor, target: int, layer: Layer) -> Tensor:
    """The same for a vision transformer, (1, 1, H, W): captum would take tokens for channels."""
    with torch.enable_grad(), outputs_of({layer.name: layer.module}, _itself) as seen:
        score = net(images)[0, target]
        (gradient,) = torch.autograd.grad(score, seen[layer.name])
    maps, gradients = layer.maps(seen[layer.name]), layer.maps(gradient)
    return (gradients.mean((2, 3), keepdim=True) * maps).sum(1, keepdim=True).relu()


def _itself(output: Tensor) -> Tensor:
    return output
