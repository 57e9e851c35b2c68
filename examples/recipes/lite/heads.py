"""Maps into the joint space, in closed form or nearly so: of the photo tower, and of every other picture domain."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from teacher import unit

SHRINK = 0.3  # of the covariance towards a multiple of the identity
LONGEST = 0.9  # mean length of the part of a word that pictures see, see ``lengthened``
PHOTOS = 0.5  # weight of a training class beside one of ImageNet when the axes are chosen


class PhotoHead:
    """z = axes . covariance^(-1/2) (f - mean), one dimension narrower than the joint space.

    Args:
        features: (N, C) of training photos: their mean and covariance.
        classifier: (K, C) rows of the tower's own classifier, each the direction of a class.
        labels: (N,) class of each photo, "" for none: their means have a say in the axes, too.
        dim: of the joint space; its last coordinate stays 0 for photos.
    """

    def __init__(self, features: np.ndarray, classifier: np.ndarray, labels: np.ndarray, dim: int):
        self.mean = features.mean(0)
        values, vectors = np.linalg.eigh(np.cov((features - self.mean).T))
        values = np.maximum(values, 0) + SHRINK * values.mean()
        whiten, colour = ((vectors * values**power) @ vectors.T for power in (-0.5, 0.5))
        rows = (classifier - classifier.mean(0)) @ colour
        white = (features - self.mean) @ whiten
        means = [white[labels == label].mean(0) for label in sorted(set(labels) - {""})]
        *_, axes = np.linalg.svd(np.concatenate([unit(rows), PHOTOS * unit(np.array(means))]), full_matrices=False)
        self.axes = axes[: dim - 1]
        self.matrix = self.axes @ whiten
        self.rows = rows @ self.axes.T  # (K, dim - 1) of the classes, with their lengths

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """(N, C) -> (N, dim - 1) unit rows."""
        return unit((features - self.mean) @ self.matrix.T)

    def linear(self) -> tuple[np.ndarray, np.ndarray]:
        """Weight (dim, C) and bias (dim,) of the layer that does it."""
        weight = np.concatenate([self.matrix, np.zeros((1, self.matrix.shape[1]))])
        return weight, -weight @ self.mean


def lengthened(directions: np.ndarray, lengths: np.ndarray | float) -> np.ndarray:
    """(N, D - 1) unit directions -> (N, D) unit vectors whose first part has the wanted length, at most 1.

    The rows of a classifier are of different lengths, which unit vectors cannot show, and which is worth 5 of 100
    photos. Photos are 0 in the last coordinate, so that their cosine with such a vector is the product with the row.
    """
    lengths = np.broadcast_to(np.minimum(lengths, 1.0), len(directions))
    return np.concatenate([directions * lengths[:, None], np.sqrt(1 - lengths**2)[:, None]], 1)


def domain_head(
    features: np.ndarray,
    names: np.ndarray,
    words: np.ndarray,
    begin: tuple[np.ndarray, np.ndarray],
    *,
    scale: float = 12.0,
    decay: float = 1e-3,
) -> tuple[np.ndarray, np.ndarray]:
    """A linear map from a tower's features to the joint space whose text side stands still.

    It begins as another map and goes on by cross-entropy over the cosines.

    Args:
        features: (N, C) of the domain's training pictures.
        names: (N,) rows of ``words``.
        words: (K, D) unit vectors.
        begin: weight (D, C) and bias (D,) of the initial map.
        scale: what a cosine is multiplied by before the softmax.
        decay: of the squared distance of the weight from where it began.

    Returns:
        Weight (D, C) and bias (D,).
    """
    mean, spread = features.mean(0), features.std(0).mean() + 1e-6
    x = (features - mean) / spread
    counts = np.bincount(names, minlength=len(words))
    share = counts[names] ** -0.5
    share /= share.sum()
    start, offset = np.ascontiguousarray(begin[0].T) * spread, begin[0] @ mean + begin[1]
    rows, wanted = torch.tensor(x, dtype=torch.float32), torch.from_numpy(names)
    weights = torch.tensor(share, dtype=torch.float32)
    text, first = torch.tensor(words, dtype=torch.float32), torch.tensor(start, dtype=torch.float32)
    linear, bias = first.clone().requires_grad_(), torch.tensor(offset, dtype=torch.float32, requires_grad=True)
    seen = torch.tensor(counts > 0)
    size = float(first.norm() / np.sqrt(x.shape[1]))
    optimiser = torch.optim.LBFGS([linear, bias], max_iter=60, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        cosines = F.normalize(rows @ linear + bias, dim=1) @ text.T
        logits = (scale * cosines).masked_fill(~seen, -1e4)
        loss = (weights * F.cross_entropy(logits, wanted, reduction="none")).sum()
        loss = loss + decay * ((linear - first) / size).square().sum()
        loss.backward()
        return loss

    with torch.enable_grad():
        optimiser.step(closure)
    weight = linear.detach().double().numpy().T / spread
    return weight, bias.detach().double().numpy() - weight @ mean


def domain_classifier(features: list[np.ndarray], decay: float = 1e-4) -> tuple[np.ndarray, np.ndarray]:
    """Logistic regression: rows of features by domain -> weight (domains, C) and bias (domains,)."""
    x = torch.tensor(np.concatenate(features), dtype=torch.float32)
    y = torch.tensor([i for i, rows in enumerate(features) for _ in rows])
    share = torch.tensor([1 / len(rows) for rows in features])[y] / len(features)
    mean, spread = x.mean(0), x.std() + 1e-6
    x = (x - mean) / spread
    weight = torch.zeros(len(features), x.shape[1], requires_grad=True)
    bias = torch.zeros(len(features), requires_grad=True)
    optimiser = torch.optim.LBFGS([weight, bias], max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        loss = (share * F.cross_entropy(x @ weight.T + bias, y, reduction="none")).sum() + decay * weight.square().sum()
        loss.backward()
        return loss

    with torch.enable_grad():
        optimiser.step(closure)
    plain = weight.detach() / spread
    return plain.double().numpy(), (bias.detach() - plain @ mean).double().numpy()
