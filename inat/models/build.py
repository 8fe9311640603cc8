"""From the configuration of a trial to its network."""

from inat.config import TrialConfig
from inat.models.classifier import Classifier
from inat.models.cnn import build_cnn


def build_classifier(config: TrialConfig, num_classes: int, micro_batch: int | None = None) -> Classifier:
    """The classifier that ``config`` describes, with fresh weights; ``micro_batch`` as Classifier takes it."""
    net = build_cnn(config.model, config.data.image_size, num_classes)
    return Classifier(net, config.optim, num_classes, micro_batch)
