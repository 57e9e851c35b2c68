"""Self-supervised pre-training of image towers: four switches, named methods, one loop."""

from clipx.contrastive.cpc import network_of
from clipx.contrastive.network import Network
from clipx.contrastive.pictures import decoded, find_pictures
from clipx.contrastive.presets import METHODS, Method, Views, method_named, small
from clipx.contrastive.probe import knn_predictions, linear_predictions
from clipx.contrastive.tower import DEFAULT, ImageTower, load_tower, new_tower
from clipx.contrastive.train import features, pretrain, pretrain_network, ssl_config

__all__ = [
    "DEFAULT",
    "METHODS",
    "ImageTower",
    "Method",
    "Network",
    "Views",
    "decoded",
    "features",
    "find_pictures",
    "knn_predictions",
    "linear_predictions",
    "load_tower",
    "method_named",
    "network_of",
    "new_tower",
    "pretrain",
    "pretrain_network",
    "small",
    "ssl_config",
]
