import copy

import pytest
import timm
import torch
from torch import nn

from inat.errors import ConfigError
from inat.models.timm_stages import timm_stages
from tests.models.timm_table import DROPS, MODELS, Model, assert_equal

pytestmark = pytest.mark.usefixtures("one_thread")
SMALL = {
    "ResNet": Model("test_resnet", 64, 6, DROPS), "ByobNet": Model("test_byobnet", 64, 6, DROPS),
    "EfficientNet": Model("test_efficientnet", 64, 7, DROPS), "ConvNeXt": Model("test_convnext", 64, 6, DROPS),
    "NFNet": Model("test_nfnet", 64, 6, DROPS), "ViT": Model("test_vit", 64, 8, DROPS | {"img_size": 64}),
    "ViT, average": Model("test_vit3", 64, 12, DROPS | {"img_size": 64}),
}  # fmt: skip


@pytest.mark.parametrize("kind", SMALL)
def test_stages_of_small_models_have_the_bits_of_the_whole_model(kind):
    assert_equal(SMALL[kind])


@pytest.mark.parametrize("kind", ["MobileNetV4", "ConvNeXtV2", "DeiT, distilled", "Swin", "CrossViT"])
def test_stages_of_published_models_have_the_bits_of_the_whole_model(kind):
    assert_equal(MODELS[kind])  # all of them: test_timm_table.py


def test_the_comparison_notices_another_stage():
    model = timm.create_model("test_convnext", num_classes=5).eval()
    images = torch.randn(2, 3, 64, 64)
    cut = timm_stages(copy.deepcopy(model), 64)
    with torch.no_grad():
        assert torch.equal(nn.Sequential(cut.stages)(images), model(images))
        del cut.stages["stages_1"].stages
        cut.stages["stages_1"] = nn.Identity()
        with pytest.raises(RuntimeError):
            nn.Sequential(cut.stages)(images)


def test_each_parameter_belongs_to_one_stage_and_the_head_is_the_classifier():
    model = timm.create_model("test_vit", num_classes=5, img_size=64)
    count = sum(parameter.numel() for parameter in model.parameters())
    cut = timm_stages(model, 64)
    assert sum(p.numel() for stage in cut.stages.values() for p in stage.parameters()) == count
    assert [tuple(p.shape) for p in cut.stages["head"].parameters()] == [(5, 64), (5,)]
    assert cut.outputs == ("head.head",)


def test_features_before_the_head_are_vectors_without_dropout():
    model = timm.create_model("test_efficientnet", num_classes=5, drop_rate=0.5)
    *body, head = timm_stages(model, 64).stages.values()
    features = nn.Sequential(*body)(torch.randn(2, 3, 64, 64))
    assert features.shape == (2, 256)
    assert not [m for m in nn.Sequential(*body).modules() if isinstance(m, nn.Dropout) and m.p]
    assert not torch.equal(head.train()(features), head(features))


def test_a_model_without_a_classifier_is_refused():
    with pytest.raises(ConfigError, match="VisionTransformer of timm has no classifier; choose another model"):
        timm_stages(timm.create_model("test_vit", num_classes=0), 160)
