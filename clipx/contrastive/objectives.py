"""From the outputs of a network to the loss of each method; queues, banks and centres are updated on the way."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from clipx._processes import gather
from clipx.contrastive.losses import (
    alignment,
    info_nce,
    instance_spread,
    nce,
    negative_cosine,
    nt_xent,
    regression,
    self_distillation,
    sinkhorn,
    swapped_prediction,
)
from clipx.contrastive.negatives import Bank, Queue
from clipx.contrastive.network import Network, Parts

WARM = 0.3  # share of the steps over which DINO's teacher temperature rises


def _unit(parts: Parts) -> Parts:
    return [F.normalize(part, dim=-1) for part in parts]


def contrast(network: Network, predicted: Parts, target: Parts, numbers: Tensor, done: float) -> Tensor:
    """InfoNCE of MoCo: keys of the queue, or of the batch (v3, by 2 t as its algorithm 1), are the negatives."""
    method, queue = network.method, network.negatives
    q, k = _unit(predicted), _unit(target)
    total = q[0].new_zeros(())
    for i, j in network.pairs(len(q)):
        if method.negatives == "none":
            total = total + alignment(q[i], k[j], method.temperature)
        elif isinstance(queue, Queue):
            total = total + info_nce(q[i], k[j], method.temperature, queue.keys.clone())
            queue.push(k[j])
        else:
            total = total + 2 * method.temperature * info_nce(q[i], k[j], method.temperature)
    return total


def simclr(network: Network, predicted: Parts, target: Parts, numbers: Tensor, done: float) -> Tensor:
    """NT-Xent between the two views."""
    first, second = _unit(predicted)
    if network.method.negatives == "none":
        return alignment(first, second, network.method.temperature)
    return nt_xent(first, second, network.method.temperature)


def invaspread(network: Network, predicted: Parts, target: Parts, numbers: Tensor, done: float) -> Tensor:
    """InvaSpread's loss between the two views."""
    first, second = _unit(predicted)
    if network.method.negatives == "none":
        return alignment(first, second, network.method.temperature)
    return instance_spread(first, second, network.method.temperature)


def bank(network: Network, predicted: Parts, target: Parts, numbers: Tensor, done: float) -> Tensor:
    """A view against its own row of a memory bank: InstDisc; CMC, where colour is against the bank of lightness."""
    vectors, method = _unit(predicted), network.method
    if method.negatives == "none":
        return alignment(vectors[0], vectors[-1], method.temperature)
    banks: list[Bank] = list(network.negatives)  # type: ignore[arg-type, call-overload]
    total = vectors[0].new_zeros(())
    for v, other in zip(vectors, reversed(banks), strict=True):
        drawn = torch.randint(len(other.rows), (method.length,), generator=_generator(numbers)).to(v.device)
        noise = other.rows[drawn]
        constant = other.normaliser(v, noise, method.temperature)
        total = total + nce(v, other.rows[numbers], noise, method.temperature, len(other.rows), constant)
    for v, own in zip(vectors, banks, strict=True):
        own.update(numbers, v)
    return total


def byol(network: Network, predicted: Parts, target: Parts, numbers: Tensor, done: float) -> Tensor:
    """BYOL: the predictions of one view against the slow network's projection of the other."""
    return sum((regression(predicted[i], target[j]) for i, j in network.pairs(2)), torch.zeros(()))


def simsiam(network: Network, predicted: Parts, target: Parts, numbers: Tensor, done: float) -> Tensor:
    """SimSiam: the mean over both ways."""
    pairs = network.pairs(2)
    return sum((negative_cosine(predicted[i], target[j]) for i, j in pairs), torch.zeros(())) / len(pairs)


def swav(network: Network, predicted: Parts, target: Parts, numbers: Tensor, done: float) -> Tensor:
    """SwAV: codes of the large crops predicted from every other crop."""
    method, pairs = network.method, network.pairs(len(predicted))
    codes = [sinkhorn(target[j], method.epsilon, method.sinkhorn) for j in range(2)]
    terms = [swapped_prediction(predicted[i], codes[j], method.temperature) for i, j in pairs]
    return torch.stack(terms).mean()


def dino(network: Network, predicted: Parts, target: Parts, numbers: Tensor, done: float) -> Tensor:
    """DINO: the slow network's centred outputs for the large crops predicted from every other crop."""
    method, centre = network.method, network.centre
    first, last = method.teacher_temperature
    sharp = first + (last - first) * min(1.0, done / WARM)
    terms = [
        self_distillation(predicted[i], target[j], centre, method.temperature, sharp)
        for i, j in network.pairs(len(predicted))
    ]
    if method.centre is not None:
        centre.lerp_(torch.cat(target[:2]).detach().mean(0), 1 - method.centre)
    return torch.stack(terms).mean()


def cpc(network: Network, predicted: Parts, target: Parts, numbers: Tensor, done: float) -> Tensor:
    """CPC: patches some rows below a context among all other patches of those rows in the batch."""
    terms, temperature = [], network.method.temperature
    for context, patch in zip(predicted, target, strict=True):
        if network.method.negatives == "none":
            terms.append(alignment(F.normalize(context, dim=1), F.normalize(patch, dim=1), temperature))
        else:
            terms.append(info_nce(context, patch, temperature))
    return torch.stack(terms).mean()


def _generator(numbers: Tensor) -> torch.Generator:
    """For noise that depends on the batch alone."""
    return torch.Generator().manual_seed(int(numbers.sum()))


OBJECTIVES: dict[str, Callable[[Network, Parts, Parts, Tensor, float], Tensor]] = {
    "bank": bank,
    "cpc": cpc,
    "distillation": dino,
    "info_nce": contrast,
    "negative_cosine": simsiam,
    "nt_xent": simclr,
    "regression": byol,
    "spread": invaspread,
    "swapped": swav,
}


def loss_of_batch(network: Network, parts: tuple[Parts, Parts], numbers: Tensor, done: float) -> Tensor:
    """The loss of a batch.

    Args:
        network: with the method, and the state that the loss updates.
        parts: what the network returned, in float32.
        numbers: (N,) which pictures they are, of this process.
        done: share of the steps that are done.
    """
    return OBJECTIVES[network.method.loss](network, *parts, gather(numbers), done)
