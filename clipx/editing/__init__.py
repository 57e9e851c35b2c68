"""Pictures moved by words: any differentiable latent -> picture, optimised against a frozen joint space (StyleCLIP)."""

from clipx._lazy import at_first_use

_WHERE = {
    "Generator": "generator",
    "Optimised": "descent",
    "PhotoFilter": "photo_filter",
    "directional_loss": "losses",
    "optimise": "descent",
    "ramp": "descent",
    "similarity_loss": "losses",
}
__all__ = sorted(_WHERE)

__getattr__ = at_first_use(__name__, _WHERE)
