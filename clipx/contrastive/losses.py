"""The losses of self-supervised pre-training: pure functions, each as its paper's equation."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def info_nce(queries: Tensor, keys: Tensor, temperature: float, negatives: Tensor | None = None) -> Tensor:
    """InfoNCE: a query's key against negatives (CPC, van den Oord et al. 2018, eq. 4; MoCo, He et al. 2020, eq. 1).

    -log exp(q . k / t) / (exp(q . k / t) + sum over negatives n of exp(q . n / t)), the mean over queries.

    Args:
        queries: (N, D).
        keys: (N, D), the i-th for the i-th query.
        temperature: t > 0.
        negatives: (K, D), such as a queue; the keys of the other queries where left out.
    """
    if negatives is None:
        return F.cross_entropy(queries @ keys.T / temperature, torch.arange(len(queries), device=queries.device))
    positive = (queries * keys).sum(1, keepdim=True)
    logits = torch.cat([positive, queries @ negatives.T], dim=1) / temperature
    return F.cross_entropy(logits, logits.new_zeros(len(logits), dtype=torch.long))


def nt_xent(first: Tensor, second: Tensor, temperature: float) -> Tensor:
    """NT-Xent: each of 2N views finds its other view among 2N - 1 (SimCLR, Chen et al. 2020, eq. 1).

    Args:
        first: (N, D) unit vectors of one view.
        second: (N, D) of the other.
        temperature: t > 0.
    """
    views = torch.cat([first, second])
    logits = (views @ views.T / temperature).fill_diagonal_(float("-inf"))
    return F.cross_entropy(logits, torch.arange(len(views), device=views.device).roll(len(first)))


def nce(
    vectors: Tensor, positives: Tensor, noise: Tensor, temperature: float, instances: int, constant: float | Tensor
) -> Tensor:
    """Noise-contrastive estimation over a memory bank (InstDisc, Wu et al. 2018, eq. 3 to 7).

    P(i | v) = exp(v . f_i / t) / Z; h = P / (P + M / n); -log h(i) - sum over noise j of log(1 - h(j)).

    Args:
        vectors: (N, D) unit vectors v.
        positives: (N, D) unit vectors f_i, their own rows of the bank.
        noise: (M, D) rows of the bank drawn evenly, the same for the whole batch.
        temperature: t > 0.
        instances: n, the rows of the bank; noise has probability 1 / n each.
        constant: Z, estimated once as n times the mean of exp(v . f / t).
    """
    ratio = len(noise) / instances

    def log_odds(cosines: Tensor) -> Tensor:  # h = sigmoid(log(P / (M / n)))
        return cosines / temperature - torch.as_tensor(constant * ratio).log()

    own = F.logsigmoid(log_odds((vectors * positives).sum(1)))
    others = F.logsigmoid(-log_odds(vectors @ noise.T)).sum(1)
    return -(own + others).mean()


def instance_spread(first: Tensor, second: Tensor, temperature: float) -> Tensor:
    """A view is recognised as its picture, and no other picture as it (InvaSpread, Ye et al. 2019, eq. 5).

    -log P(i | x^_i) - sum over j != i of log(1 - P(i | x_j)), the mean over i, where
    P(i | x) = exp(f_i . f(x) / t) / sum over k of exp(f_k . f(x) / t).

    Args:
        first: (N, D) unit vectors f_i of the pictures.
        second: (N, D) of x^_i, the same pictures in another view.
        temperature: t > 0.
    """
    same = F.log_softmax(second @ first.T / temperature, dim=1).diagonal()
    other = F.softmax(first @ first.T / temperature, dim=1)  # [j, i] = P(i | x_j)
    off = ~torch.eye(len(first), dtype=torch.bool, device=first.device)
    return -(same.sum() + torch.log1p(-other[off].clamp(max=1 - 1e-6)).sum()) / len(first)


def negative_cosine(predictions: Tensor, targets: Tensor) -> Tensor:
    """-cos(p, z), the mean over rows of (N, D) (SimSiam, Chen and He 2021, eq. 1)."""
    return -F.cosine_similarity(predictions, targets, dim=1).mean()


def regression(predictions: Tensor, targets: Tensor) -> Tensor:
    """|p / |p| - z / |z||^2 = 2 - 2 cos(p, z), the mean over rows of (N, D) (BYOL, Grill et al. 2020, eq. 2)."""
    return 2 + 2 * negative_cosine(predictions, targets)


@torch.no_grad()
def sinkhorn(scores: Tensor, epsilon: float, iterations: int) -> Tensor:
    """Soft codes that use all prototypes alike (SwAV, Caron et al. 2020, eq. 3 to 5): Sinkhorn-Knopp.

    Args:
        scores: (N, K) cosines of N vectors with K prototypes.
        epsilon: > 0; the smaller, the harder the codes.
        iterations: normalisations of prototypes and vectors in turn; with none each row is a plain softmax.

    Returns:
        (N, K); rows sum to 1, and columns to about N / K.
    """
    if not iterations:
        return F.softmax(scores.float() / epsilon, dim=1)
    codes = ((scores.float() - scores.max()) / epsilon).exp()  # a common factor is lost in the normalisations
    for _ in range(iterations):
        codes = codes / codes.sum(0, keepdim=True).clamp(min=1e-30) / codes.shape[1]
        codes = codes / codes.sum(1, keepdim=True).clamp(min=1e-30)
    return codes


def swapped_prediction(scores: Tensor, codes: Tensor, temperature: float) -> Tensor:
    """The code of one view predicted from another (SwAV, eq. 2): -sum over k of q_k log softmax(scores / t)_k.

    Args:
        scores: (N, K) cosines of one view with the prototypes.
        codes: (N, K) of another view, by ``sinkhorn``.
        temperature: t > 0.
    """
    return F.cross_entropy(scores / temperature, codes)


def self_distillation(
    student: Tensor, teacher: Tensor, centre: Tensor, student_temperature: float, teacher_temperature: float
) -> Tensor:
    """The teacher's centred, sharpened distribution predicted by the student (DINO, Caron et al. 2021, eq. 1 and 2).

    Args:
        student: (N, K) outputs for one crop.
        teacher: (N, K) outputs for another crop of the same pictures.
        centre: (K,), subtracted from the teacher's.
        student_temperature: t_s > 0.
        teacher_temperature: t_t > 0, below t_s.
    """
    return F.cross_entropy(student / student_temperature, F.softmax((teacher - centre) / teacher_temperature, dim=1))


def alignment(queries: Tensor, keys: Tensor, temperature: float) -> Tensor:
    """What is left of InfoNCE without negatives, -q . k / t: every embedding may then be the same.

    The alignment term of Wang and Isola (2020), eq. 1, for unit vectors (N, D).
    """
    return -(queries * keys).sum(1).mean() / temperature


def spread(vectors: Tensor) -> float:
    """1 - |mean of the unit vectors|^2 of (N, D): 0 where all are one, 1 where they point everywhere."""
    return 1 - float(F.normalize(vectors.float(), dim=1).mean(0).square().sum())
