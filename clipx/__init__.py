"""clipx: new modalities for a frozen CLIP.

>>> import clipx
>>> clipx.classify("chair.ply", ["chair", "table", "airplane"])[0].label   # doctest: +SKIP
'chair'

Names are resolved at first use, so ``import clipx`` costs nothing beyond Python itself.
"""

from clipx._lazy import at_first_use

__version__ = "0.2.0"

_WHERE = {
    "classify": "api",
    "embed": "api",
    "export": "backends.export",
    "get_modality": "registry",
    "Index": "index",
    "JointSpace": "space",
    "list_spaces": "spaces.embedded",
    "load_space": "spaces.loading",
    "optimise": "editing.descent",
    "Embedding": "embedding",
    "Modality": "modality",
    "Prediction": "zeroshot",
    "ZeroShotClassifier": "zeroshot",
    "ClipxError": "errors",
}
__all__ = sorted(_WHERE)


__getattr__ = at_first_use(__name__, _WHERE)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
