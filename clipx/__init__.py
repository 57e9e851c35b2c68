"""clipx: new senses for a frozen CLIP.

>>> import clipx
>>> clipx.classify("chair.ply", ["chair", "table", "airplane"])[0].label   # doctest: +SKIP
'chair'

Names are resolved at first use, so ``import clipx`` costs nothing beyond Python itself.
"""

from importlib import import_module

__version__ = "0.1.0"

_WHERE = {
    "classify": "clipx.api",
    "embed": "clipx.api",
    "get_modality": "clipx.registry",
    "Index": "clipx.index",
    "JointSpace": "clipx.space",
    "list_spaces": "clipx.space",
    "load_space": "clipx.space",
    "Embedding": "clipx.embedding",
    "Modality": "clipx.modality",
    "Prediction": "clipx.zeroshot",
    "ZeroShotClassifier": "clipx.zeroshot",
    "ClipxError": "clipx.errors",
}
__all__ = sorted(_WHERE)


def __getattr__(name: str):
    if name not in _WHERE:
        raise AttributeError(f"module 'clipx' has no attribute {name!r}")
    return getattr(import_module(_WHERE[name]), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
