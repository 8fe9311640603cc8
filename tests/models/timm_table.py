"""Models of timm of different kinds, each made small, and the comparison of their stages with the whole model."""

import copy
from typing import Any, NamedTuple

import timm
import torch
from torch import Tensor, nn

from inat.models.timm_stages import TimmStages, timm_stages

DROPS = {"drop_path_rate": 0.2}


class Model(NamedTuple):
    """A model with the side of small images, options that make it small, and the number of its stages."""

    name: str
    side: int
    stages: int
    options: dict[str, Any] = {}


VIT = {"depth": 3, "img_size": 64, **DROPS}
MODELS = {
    "ResNet": Model("resnet18", 64, 6, DROPS),
    "ResNeXt": Model("resnext50_32x4d", 64, 6, DROPS),
    "RegNet": Model("regnety_002", 64, 6, DROPS),
    "EfficientNet": Model("efficientnet_b0", 64, 9, DROPS),
    "EfficientNet lite": Model("tf_efficientnet_lite0", 64, 9, DROPS),
    "EfficientNetV2": Model("efficientnetv2_rw_t", 64, 8, DROPS),
    "MobileNetV2": Model("mobilenetv2_050", 64, 9, DROPS),
    "MobileNetV3": Model("mobilenetv3_small_050", 64, 9, DROPS),
    "MobileNetV4": Model("mobilenetv4_conv_small_050", 64, 8, DROPS),
    "ConvNeXt": Model("convnext_atto", 64, 6, DROPS),
    "ConvNeXtV2": Model("convnextv2_atto", 64, 6, DROPS),
    "NFNet": Model("nfnet_l0", 64, 6, DROPS),
    "ViT": Model("vit_tiny_patch16_224", 64, 5, VIT),
    "DeiT, distilled": Model("deit_tiny_distilled_patch16_224", 64, 5, VIT),
    "DeiT III": Model("deit3_small_patch16_224", 64, 5, VIT),
    "DINOv2 with registers": Model("vit_small_patch14_reg4_dinov2", 70, 5, VIT | {"img_size": 70}),
    "SigLIP": Model("vit_base_patch16_siglip_224", 64, 6, VIT | {"embed_dim": 192, "num_heads": 3}),
    "BEiT": Model("beit_base_patch16_224", 64, 5, VIT | {"embed_dim": 192, "num_heads": 3}),
    "EVA-02": Model("eva02_tiny_patch14_224", 70, 5, VIT | {"img_size": 70}),
    "Swin": Model("swin_tiny_patch4_window7_224", 64, 6, DROPS | {"img_size": 64}),
    "SwinV2": Model("swinv2_tiny_window8_256", 64, 6, DROPS | {"img_size": 64}),
    "MaxViT": Model("maxvit_rmlp_pico_rw_256", 64, 6, DROPS | {"img_size": 64}),
    "FastViT": Model("fastvit_t8", 64, 7, DROPS),
    "EfficientFormer": Model("efficientformer_l1", 224, 6, DROPS),
    "MLP-Mixer": Model("mixer_s32_224", 64, 10, DROPS | {"img_size": 64}),
    "CoAtNet": Model("coatnet_pico_rw_224", 64, 6, DROPS | {"img_size": 64}),
    "Hiera": Model("hiera_tiny_224", 64, 14, DROPS | {"img_size": (64, 64)}),
    "Inception-v4": Model("inception_v4", 96, 21, {"drop_rate": 0.2}),
    "DenseNet": Model("densenet121", 64, 6, {"drop_rate": 0.2}),
    "VGG": Model("vgg11", 64, 10, {"drop_rate": 0.2}),
    "GhostNet": Model("ghostnet_050", 64, 12, {"drop_rate": 0.2}),
    "RepVGG": Model("repvgg_a0", 64, 6, DROPS),
    "PVT v2": Model("pvt_v2_b0", 64, 6, DROPS),
    "LeViT": Model("levit_128s", 224, 5, DROPS),
    "DaViT": Model("davit_tiny", 64, 6, DROPS),
    "DLA": Model("dla34", 64, 8, {"drop_rate": 0.2}),
    "MobileViT": Model("mobilevit_xxs", 64, 7, DROPS),
    "PoolFormer": Model("poolformer_s12", 64, 2, DROPS),
    "Twins": Model("twins_pcpvt_small", 64, 2, DROPS),
    "CaiT": Model("cait_xxs24_224", 64, 2, {"img_size": 64}),
    "CrossViT": Model("crossvit_tiny_240", 240, 1, {"drop_path_rate": 0.2}),
}


class Comparison(NamedTuple):
    """Whether the stages give the bits of the model in both modes, and leave their inputs alone."""

    cut: TimmStages
    evaluation: bool
    training: bool
    statistics: bool
    inputs_kept: bool


def compare(entry: Model, classes: int = 5) -> Comparison:
    """Compare the stages of a model with random weights with the model itself, with the same random numbers."""
    torch.manual_seed(0)
    model = timm.create_model(entry.name, num_classes=classes, **entry.options)
    for parameter in model.parameters():
        if not parameter.any():  # layers that start at 0 would hide a difference
            nn.init.normal_(parameter, std=0.02)
    reference = copy.deepcopy(model)
    cut = timm_stages(model, entry.side)
    network, images = nn.Sequential(cut.stages), torch.randn(2, 3, entry.side, entry.side)
    with torch.no_grad():
        evaluation = torch.equal(reference.eval()(images), network.eval()(images))
        seeded = [_seeded(part.train(), images) for part in (reference, network)]
        statistics = _statistics(reference) == _statistics(network)
        kept = _keeps_inputs(network, images)
    return Comparison(cut, evaluation, torch.equal(*seeded), statistics, kept)


def _seeded(network: nn.Module, images: Tensor) -> Tensor:
    torch.manual_seed(1)
    logits: Tensor = network(images)
    return logits


def _statistics(network: nn.Module) -> list[float]:
    layers = [module for module in network.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    return sorted(float(layer.running_mean.sum()) for layer in layers if layer.running_mean is not None)


def _keeps_inputs(network: nn.Sequential, images: Tensor) -> bool:
    """Whether no stage changes its input, which may be features that are kept for the next epoch."""
    flow, kept = images, True
    for stage in copy.deepcopy(network):
        before = flow.clone()
        result = stage(flow)
        kept &= torch.equal(before, flow)
        flow = result
    return kept


def assert_equal(entry: Model) -> None:
    """Stages have the bits of the whole model, and there are as many as the table says."""
    found = compare(entry)
    assert found[1:] == (True, True, True, True)
    assert len(found.cut.stages) == entry.stages
    assert list(found.cut.stages)[-1] == "head"
    assert bool(found.cut.note) == (entry.stages < 3)
