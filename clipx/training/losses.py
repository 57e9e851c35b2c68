"""Losses between two sets of unit vectors, with several positives and pairs to ignore."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

TEMPERATURE = 0.1  # of affinities


def contrastive_loss(rows: Tensor, columns: Tensor, scale: Tensor, targets: Tensor, ignore: Tensor | None = None):
    """Symmetric cross-entropy with several positives a row and a column (SupCon's L_out, Khosla et al. 2020, eq. 2).

    With ``targets = eye(N)`` it is CLIP's loss. Rows and columns without a positive count for nothing; without any
    positive the loss is 0.

    Args:
        rows: (N, D) unit vectors, for instance of pictures.
        columns: (M, D) unit vectors, for instance of captions.
        scale: factor on the cosine (the exponential of CLIP's ``logit_scale``), a scalar tensor.
        targets: (N, M) weights >= 0; any positive entry is a match, and its weight counts within its row and column.
        ignore: (N, M) bool; pairs that are neither match nor mismatch (related classes) and leave the softmax.

    Returns:
        Scalar: the mean over rows plus the mean over columns, halved.
    """
    logits = scale * rows @ columns.T
    if ignore is not None:
        logits = logits.masked_fill(ignore & (targets <= 0), float("-inf"))

    def one_way(logits: Tensor, targets: Tensor) -> Tensor:
        total = targets.sum(1)
        some = total > 0
        weights = targets[some] / total[some, None]
        entropy = -torch.where(weights > 0, weights * F.log_softmax(logits[some], dim=1), 0.0).sum()
        return entropy / some.sum().clamp(min=1)

    return (one_way(logits, targets) + one_way(logits.T, targets.T)) / 2


def sigmoid_loss(
    rows: Tensor, columns: Tensor, scale: Tensor, bias: Tensor, targets: Tensor, ignore: Tensor | None = None
):
    """Pairwise sigmoid loss (Zhai et al. 2023, eq. 1): every pair is its own yes or no. Arguments as above.

    ``bias`` is a scalar tensor; any positive target is a yes. The sum over pairs is divided by N.
    """
    sign = torch.where(targets > 0, 1.0, -1.0)
    loss = -F.logsigmoid(sign * (scale * rows @ columns.T + bias))
    if ignore is not None:
        loss = loss.masked_fill(ignore & (targets <= 0), 0.0)
    return loss.sum() / len(rows)


def affinity_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """KL divergence of who is how similar to whom, by the student from that by the teacher.

    After TinyCLIP's affinity mimicking (Wu et al., ICCV 2023, arXiv 2309.12314), within one modality.

    Each row of cosines with the others of the batch, over 0.1, is a distribution by softmax.

    Args:
        student, teacher: (B, D) unit vectors, B >= 2.

    Returns:
        Scalar, 0 where both agree.
    """
    off = ~torch.eye(len(student), dtype=torch.bool, device=student.device)

    def rows(x: Tensor) -> Tensor:
        return (x @ x.T)[off].view(len(x), -1).div(TEMPERATURE).log_softmax(1)

    return F.kl_div(rows(student), rows(teacher), reduction="batchmean", log_target=True)
