"""What a training step of a network demands of a GPU: memory, arithmetic and launches."""

from dataclasses import dataclass

# Bytes of each parameter: its value, its gradient, the two moments of Adam, and a moving average.
PARAMETER_BYTES = 20
# Tensors of the backward pass and what the allocator keeps, beside the activations that the forward pass saves.
WORKING = 1.5
PASSES = 3  # forward passes that a step costs


@dataclass(frozen=True, slots=True)
class Demand:
    """One network: of each image, the bytes of saved activations in float32 and the operations of a forward pass.

    ``calls`` counts the operators of a forward pass, ``images`` those of a training step.
    """

    parameters: int
    image_bytes: int
    operations: int
    calls: int
    images: int

    def memory(self, images: int) -> int:
        """Bytes of a training step with this many images, without those of the process itself."""
        return round(PARAMETER_BYTES * self.parameters + WORKING * self.image_bytes * images)


@dataclass(frozen=True, slots=True)
class SpaceDemand:
    """Networks drawn from a space, and the bytes of the images that a trial keeps on its device."""

    networks: tuple[Demand, ...]
    pictures: int

    @property
    def memory(self) -> int:
        """Bytes of the largest of the networks with the largest of the batches."""
        images = max(network.images for network in self.networks)
        return max(network.memory(images) for network in self.networks)
