"""Where a drawing's strokes start: what an image tower looks at, times where the photo has edges.

Maps are float32 arrays (H, W).
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from clipx._arrays import to_array
from clipx.errors import InputError

if TYPE_CHECKING:
    from clipx.space import JointSpace

# The statistics that CLIPasso's edge thresholds are stated in; an edge does not depend on the space.
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
GREY = (0.2125, 0.7154, 0.0721)
# XDoG (Winnemoeller et al., 2012) with CLIPasso's settings.
SIGMA, K, GAMMA, PHI, EPSILON = 0.8, 10, 0.98, 200, -0.1
TEMPERATURE = 0.3
WORDS = 5  # that say what a photo shows


def start_probabilities(
    pixels: Tensor, saliency: np.ndarray, box: tuple[int, int, int, int] | None = None
) -> np.ndarray:
    """The probability of each pixel to be a stroke's first point: CLIPasso's ``softmax((1 - XDoG) * saliency)``.

    Args:
        pixels: (3, H, W) RGB in [0, 1].
        saliency: (H, W), in [0, 1].
        box: (top, left, height, width) to keep to. Edges are sought in it alone, so that a letterbox has none.

    Returns:
        (H, W) float32, sum 1; exactly 0 where the product map is 0.

    Raises:
        InputError: the shapes differ, or the picture has no edge where the map is not 0.
    """
    if saliency.shape != tuple(pixels.shape[-2:]):
        raise InputError(f"the saliency map is {saliency.shape}, the picture {tuple(pixels.shape[-2:])}")
    top, left, height, width = box or (0, 0, *saliency.shape)
    inside = slice(top, top + height), slice(left, left + width)
    product = np.zeros(saliency.shape, np.float32)
    product[inside] = (1 - xdog(grey(pixels[:, *inside]))) * saliency[inside]
    return softmax(product)


def default_space(space: JointSpace, about: str | None = None) -> JointSpace:
    """Whose tower says where a drawing in ``space`` starts: its own if it can, else an embedded one's.

    A ViT can, and a tower whose vector is the mean of its cells. A ModifiedResNet's Grad-CAM says less, but it can look
    for what is asked for (``about``), which a class token's attention cannot.
    """
    from clipx.spaces.embedded import embedded_for
    from clipx.spaces.loading import load_space

    knows = about is not None or space.supports("class_attention") or space.backbone.averages
    others = [] if knows else embedded_for("class_attention")
    return load_space(others[0], device=space.device, backend="torch") if others else space


def saliency(space: JointSpace, pixels: Tensor, embedding: np.ndarray | None = None) -> np.ndarray:
    """What the space's image tower looks at.

    Attention of a transformer, Grad-CAM of a ModifiedResNet, class activation where a vector is the mean of cells.

    Args:
        space: looks at the picture at its own ``image_size``; class activation at twice that, too.
        pixels: (3, H, W) RGB in [0, 1].
        embedding: (D,), whose similarity Grad-CAM traces back, such as a text's; see ``grad_cam``. Attention has no use
            for it.

    Returns:
        (H, W), stretched to [0, 1].

    Raises:
        UnsupportedError: the tower has neither.
    """
    size = int(pixels.shape[-2]), int(pixels.shape[-1])
    towards = None if embedding is None else torch.as_tensor(embedding)
    if space.backbone.averages:
        return class_activation(space, pixels, towards, size)
    fitted = space.preprocess.sample(pixels.detach()[None].to(space.device), space.image_size).clamp(0, 1)
    if space.supports("stages"):
        with torch.enable_grad():
            # the embedding as the tower gives it: once normalised, its gradient is another one
            rows, stages = space.backbone.encode_with_stages(space.preprocess.normalize(fitted).requires_grad_())
            if "layer4" in stages:
                return grad_cam(stages["layer4"], rows[0], towards, size)
    grid = fitted.shape[-2] // space.backbone.stride[0], fitted.shape[-1] // space.backbone.stride[1]
    with torch.no_grad():
        return attention_map(space.attention(fitted)[0], grid, size)


def class_activation(space: JointSpace, pixels: Tensor, embedding: Tensor | None, size: tuple[int, int]) -> np.ndarray:
    """Class activation map (Zhou et al., CVPR 2016): how much each cell adds to the similarity with a vector.

    The mean of two maps, of the picture at ``image_size`` and at twice that: the one is steadier, the other finer.

    Args:
        space: whose picture vector is the mean of its cells.
        pixels: (3, H, W) RGB in [0, 1].
        embedding: (D,), such as a text's; by default the mean of the words that fit the picture best, of those that
            the space knows from pictures, or the picture's own vector where it has no list of words.
        size: (H, W) of the result.

    Returns:
        (H, W), stretched to [0, 1].
    """
    maps = []
    with torch.no_grad():
        towards = best_words(space, pixels) if embedding is None else embedding.reshape(-1)
        for scale in (1, 2):
            height, width = space.image_size
            fine = scale * height, scale * width
            looked_at = space.preprocess.sample(pixels.detach()[None].to(space.device), fine).clamp(0, 1)
            cells = space.dense_image(looked_at, unit="picture")[0]  # (D, h, w)
            maps.append(_enlarged(torch.einsum("dhw,d->hw", cells, towards.to(cells)).relu(), size))
    return _stretched(maps[0] + maps[1])


def best_words(space: JointSpace, pixels: Tensor) -> Tensor:
    """(D,): the mean of the ``WORDS`` best words for a picture (3, H, W), weighed by their probabilities.

    The words are those that the space knows from pictures; where it has no list of them, the picture's own vector.
    """
    own = space.encode_image(pixels[None].to(space.device))[0]
    known = _words_with_pictures(space)
    if known is None:
        return own
    known = known.to(own)
    best = (known @ own).topk(min(WORDS, len(known)))
    return (space.logit_scale * best.values).softmax(0) @ known[best.indices]


_known: WeakKeyDictionary[JointSpace, Tensor] = WeakKeyDictionary()  # what was read of a space's words


def _words_with_pictures(space: JointSpace) -> Tensor | None:
    """(K, D) of the words that the space knows from pictures; None where it has no list of them."""
    if space.lexicon is None or not space.lexicon.seen:
        return None
    if space not in _known:
        words = sorted(phrase for phrase, number in space.lexicon.phrases.items() if number < space.lexicon.seen)
        _known[space] = torch.from_numpy(space.encode_text(words))
    return _known[space]


def attention_map(attention: Tensor, grid: tuple[int, int], size: tuple[int, int]) -> np.ndarray:
    """Where the class token looks, the mean over heads and then blocks; enlarged, stretched to [0, 1].

    Args:
        attention: (blocks, heads, 1 + hw, 1 + hw) probabilities, token 0 the class's.
        grid: (h, w).
        size: (H, W) of the result.
    """
    looks = attention.mean(dim=1)[:, 0, 1:].mean(dim=0)  # (hw,)
    return _enlarged(looks.unflatten(0, grid), size)


def grad_cam(features: Tensor, row: Tensor, embedding: Tensor | None, size: tuple[int, int]) -> np.ndarray:
    """Grad-CAM (Selvaraju et al., 2017): features weighted by the mean gradient of a similarity, negative sums cut off.

    The similarity is the inner product of ``row`` and ``embedding``. Without an embedding the row's own direction is
    taken: what makes it long. (Its cosine with itself has no gradient.)

    Args:
        features: (1, C, h, w), of the last stage.
        row: (D,), computed from the features by autograd: the picture's embedding before it is normalised.
        embedding: (D,), of any length.
        size: (H, W) of the result.

    Returns:
        (H, W), stretched to [0, 1].
    """
    towards = row.detach() if embedding is None else embedding.reshape(-1).to(row)
    (gradient,) = torch.autograd.grad(row @ towards, features)
    weights = gradient.float().mean(dim=(2, 3), keepdim=True)
    return _enlarged((weights * features.detach().float()).sum(dim=1)[0].relu(), size)


def grey(pixels: Tensor | np.ndarray) -> np.ndarray:
    """(3, H, W) RGB in [0, 1] -> (H, W) luminance of the picture as CLIP normalises it."""
    channels = to_array(pixels).astype(np.float32)
    red, green, blue = ((c - mean) / std for c, mean, std in zip(channels, CLIP_MEAN, CLIP_STD, strict=True))
    return red * GREY[0] + green * GREY[1] + blue * GREY[2]


def xdog(grey: np.ndarray) -> np.ndarray:
    """Paper 1, lines 0, float32: the extended difference of Gaussians, cut by Otsu's threshold (which is paper itself).

    Args:
        grey: (H, W), normalised.
    """
    from skimage.filters import threshold_otsu

    response = xdog_response(grey)
    return (response >= threshold_otsu(response)).astype(np.float32)


def xdog_response(grey: np.ndarray) -> np.ndarray:
    """The map that ``xdog`` cuts: float64 in [0, 1]; paper throughout where the picture has no edge.

    Dark bands along edges are low. What lies below ``EPSILON``, the darkest, counts as half paper.
    """
    from skimage.filters import gaussian

    near, far = (gaussian(grey.astype(np.float32), s, mode="reflect", truncate=4) for s in (SIGMA, SIGMA * K))
    difference = near - np.float32(GAMMA) * far
    # float64 from here on: in float32 Otsu's threshold may fall into the next of its bins
    response = np.where(difference < EPSILON, 1.0, 1 + np.tanh(np.float32(PHI) * difference).astype(np.float64))
    return _stretched(response)


def softmax(values: np.ndarray, temperature: float = TEMPERATURE) -> np.ndarray:
    """(H, W) >= 0 -> float32 probabilities of the entries above 0, exactly 0 for all others.

    Raises:
        InputError: no entry is above 0, or one is not finite.
    """
    if not np.isfinite(values).all():
        raise InputError("the map holds NaN or infinity")
    chosen = values > 0
    if not chosen.any():
        raise InputError("the picture has no edge to start a stroke from", remedy="give a picture of more contrast")
    weights = np.exp(values[chosen].astype(np.float32) / np.float32(temperature))
    probabilities = np.zeros(values.shape, np.float32)
    probabilities[chosen] = weights / weights.sum()
    return probabilities


def _enlarged(coarse: Tensor, size: tuple[int, int]) -> np.ndarray:
    fine = F.interpolate(coarse[None, None].float(), size, mode="bicubic", align_corners=False)
    return _stretched(fine[0, 0].detach().cpu().numpy())


def _stretched(values: np.ndarray) -> np.ndarray:
    """To [0, 1]; a flat map, which prefers nothing, becomes 1 everywhere."""
    low, high = values.min(), values.max()
    return (values - low) / (high - low) if high > low else np.ones_like(values)
