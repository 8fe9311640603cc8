"""What a training does when the memory of its device runs out: it starts again in a way that takes less."""

from dataclasses import dataclass

from torch import nn

from inat.models.stages import StagedNetwork

CHECKPOINTED = "too little memory to keep all activations: they are computed again for the backward pass"


@dataclass
class Economy:
    """How a training saves memory; ``save_more`` takes the next step.

    First, a GPU gives up the images that it holds, which then are sent. Next, the stages of a network compute their
    activations again for the backward pass, if it has stages: that takes a third more time and gives the same bits.
    Only then, batches go through the network in parts, of half the size each time: batch norms see the parts, so the
    result is another one.
    """

    batch_size: int
    micro_batch: int | None = None  # images in each part of a batch; None: all
    checkpointed: bool = False
    can_checkpoint: bool = False
    sends: bool = False
    can_send: bool = False

    def save_more(self) -> bool:
        """Take the next step; False if there is none.

        >>> economy = Economy(batch_size=3, can_checkpoint=True)
        >>> while economy.save_more():
        ...     print(economy.checkpointed, economy.micro_batch)
        True None
        True 2
        True 1
        """
        if self.can_send and not self.sends:
            self.sends = True
            return True
        if self.can_checkpoint and not self.checkpointed:
            self.checkpointed = True
            return True
        if self.micro_batch == 1:
            return False
        self.micro_batch = ((self.micro_batch or self.batch_size) + 1) // 2
        return True

    @property
    def parts(self) -> int | None:
        """Images in each part of a batch, if memory is the reason for the parts."""
        return self.micro_batch if self.micro_batch is not None and self.micro_batch < self.batch_size else None

    @property
    def note(self) -> str:
        """What the user should know."""
        return CHECKPOINTED if self.checkpointed else ""


def has_stages_to_checkpoint(net: nn.Module) -> bool:
    """Whether stages train before the head, whose activations need not be kept.

    >>> has_stages_to_checkpoint(nn.Linear(1, 1))
    False
    """
    return isinstance(net, StagedNetwork) and not net.checkpointed and net.frozen < len(net) - 1
