"""The contract of a generator: a latent to start from, and a picture of each latent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from torch import Tensor


@runtime_checkable
class Generator(Protocol):
    """Any differentiable latent -> picture, such as a StyleGAN, strokes or a photo filter.

    >>> class Grey:
    ...     def latent(self): return torch.zeros(1)
    ...     def render(self, latent): return torch.sigmoid(latent).expand(1, 3, 64, 64)
    """

    def latent(self) -> Tensor:
        """The latent to start from, of any shape; it is not changed."""

    def render(self, latent: Tensor) -> Tensor:
        """A latent -> (1, 3, H, W) RGB in [0, 1], with gradients to the latent."""
