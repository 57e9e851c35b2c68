"""What a joint space is served through: torch, which is the definition, or onnxruntime, which starts faster."""

from clipx._lazy import at_first_use

_HOMES = {"Backend": "base", "OnnxBackend": "onnx", "TorchBackend": "torch"}
__all__ = list(_HOMES)

__getattr__ = at_first_use(__name__, _HOMES)
