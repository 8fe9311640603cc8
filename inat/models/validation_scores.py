"""The metrics of a validation that count images: accuracy, balanced accuracy, macro F1 and top-2 accuracy."""

from dataclasses import dataclass, field

import torch
from torch import Tensor
from torchmetrics import Metric

from inat.constants import VAL_ACC, VAL_BALANCED_ACC, VAL_MACRO_F1, VAL_TOP2_ACC


@dataclass(frozen=True, slots=True, eq=False)
class ImageAnswers:
    """What a network answered on each image, on the CPU, in the order of the images.

    ``predicted`` (N,) int32: the class. ``in_two`` (N,) bool: whether the label is among the two most probable classes.
    ``losses`` (N,) float32: the cross entropy.
    """

    predicted: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.int32))
    in_two: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.bool))
    losses: Tensor = field(default_factory=lambda: torch.zeros(0))


class ValidationScores(Metric):
    """Counts images of each class on the device, without making the host wait; ``compute`` returns all four metrics.

    The states are sums over batches of integers, so the result is exact whatever the sizes of the batches. They take
    three numbers per class, and nine bytes per image for ``image_answers``. torchmetrics' own classes fill a
    confusion matrix at every step instead, which takes 0.8 GB for 10,000 classes, and ``bincount`` on a GPU waits for
    it.
    """

    full_state_update = False
    hits: Tensor
    images: Tensor
    predicted: Tensor
    in_two: Tensor
    answers: list[Tensor]
    answers_in_two: list[Tensor]
    losses: list[Tensor]

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        for name in ("hits", "images", "predicted"):
            self.add_state(name, torch.zeros(num_classes, dtype=torch.long), dist_reduce_fx="sum")
        self.add_state("in_two", torch.tensor(0), dist_reduce_fx="sum")
        for name in ("answers", "answers_in_two", "losses"):
            self.add_state(name, [], dist_reduce_fx="cat")

    def update(self, logits: Tensor, labels: Tensor) -> None:
        """Add a batch: logits (N, classes) and labels (N,)."""
        best = logits.argmax(1)
        correct = best == labels
        ones = torch.ones_like(labels)
        self.hits.scatter_add_(0, labels, correct.long())
        self.images.scatter_add_(0, labels, ones)
        self.predicted.scatter_add_(0, best, ones)
        two = logits.topk(min(2, logits.shape[1]), dim=1).indices
        # The second of equal logits may be any class, but the predicted one always counts.
        in_two = correct | (two == labels[:, None]).any(1)
        self.in_two += in_two.sum()
        self.answers.append(best.to(torch.int32))
        self.answers_in_two.append(in_two)

    def keep_losses(self, losses: Tensor) -> None:
        """Keep the losses (N,) of the images of a batch, for ``image_answers``."""
        self.losses.append(losses)

    def image_answers(self) -> ImageAnswers:
        """What was answered on each image of the updates, whose losses were kept; the host waits for the device."""
        kept = (self.answers, self.answers_in_two, self.losses)
        return ImageAnswers(*(torch.cat(parts).cpu() for parts in kept)) if self.answers else ImageAnswers()

    def compute(self) -> dict[str, Tensor]:
        """The metrics by name, each a scalar.

        Balanced accuracy is the mean recall of the classes that have images. Macro F1 is the mean F1 of the classes
        that have images or were predicted.
        """
        total, either = self.images.sum(), self.images + self.predicted
        recalls = self.hits.float() / self.images.clamp(min=1)
        scores = 2 * self.hits.float() / either.clamp(min=1)  # F1 = 2 tp / (2 tp + fp + fn)
        return {
            VAL_ACC: self.hits.sum().float() / total,
            VAL_BALANCED_ACC: recalls.sum() / (self.images > 0).sum(),
            VAL_MACRO_F1: scores.sum() / (either > 0).sum(),
            VAL_TOP2_ACC: self.in_two.float() / total,
        }
