"""open_clip behind one class: every touch of its internals is in this package, with a self-test.

open_clip moves its internals between releases; then ``Backbone.self_test`` fails instead of features going wrong.
"""

from clipx._lazy import at_first_use

_HOMES = {
    "Backbone": "backbone",
    "CONFIG": "config",
    "TOLERANCES": "backbone",
    "Tokenizer": "tokenizer",
    "any_size_image_features": "training",
    "build_backbone": "build",
    "build_model": "build",
    "build_tokenizer": "tokenizer",
    "create": "build",
    "create_from_folder": "build",
    "create_from_hub": "build",
    "freeze": "weights",
    "has_lexicon": "config",
    "is_architecture": "config",
    "load_state": "weights",
    "model_config": "config",
    "pretrained_tags": "config",
    "random_backbone": "build",
    "read_weights": "weights",
    "require_trainable": "training",
    "short_text_features": "training",
    "state_sha256": "weights",
}
__all__ = list(_HOMES)

__getattr__ = at_first_use(__name__, _HOMES)
