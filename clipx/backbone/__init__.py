"""open_clip behind one class: every touch of its internals is in this package, with a self-test.

open_clip moves its internals between releases; then ``Backbone.self_test`` fails instead of features going wrong.
"""

from clipx.backbone.backbone import TOLERANCES, Backbone
from clipx.backbone.build import (
    build_backbone,
    build_model,
    create,
    create_from_folder,
    create_from_hub,
    random_backbone,
)
from clipx.backbone.config import CONFIG, has_lexicon, model_config, pretrained_tags
from clipx.backbone.tokenizer import Tokenizer, build_tokenizer
from clipx.backbone.training import any_size_image_features, require_trainable, short_text_features
from clipx.backbone.weights import freeze, load_state, read_weights, state_sha256

__all__ = [
    "CONFIG",
    "TOLERANCES",
    "Backbone",
    "Tokenizer",
    "any_size_image_features",
    "build_backbone",
    "build_model",
    "build_tokenizer",
    "create",
    "create_from_folder",
    "create_from_hub",
    "freeze",
    "has_lexicon",
    "load_state",
    "model_config",
    "pretrained_tags",
    "random_backbone",
    "read_weights",
    "require_trainable",
    "short_text_features",
    "state_sha256",
]
