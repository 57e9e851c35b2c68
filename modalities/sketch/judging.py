"""Spaces that judge drawings which another space drew: which one by default, and how many strokes are enough."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from clipx._arrays import softmax
from clipx.embedding import Embedding
from clipx.errors import InputError
from clipx.modalities.sketch import quickdraw
from clipx.modalities.sketch.draw import Drawing, knee
from clipx.modalities.sketch.evaluate import photo_picture
from clipx.modalities.sketch.film import pixels
from clipx.modalities.sketch.objective import Meaning
from clipx.modalities.sketch.target import Target
from clipx.space import JointSpace
from clipx.spaces.embedded import embedded_for
from clipx.zeroshot import ZeroShotClassifier


def default_judge(name: str) -> str:
    """An embedded space that judges what the space of that name draws: best one trained on drawings of photos.

    Raises:
        InputError: there is none.
    """
    for judge in [*embedded_for("drawings_of_photos"), *embedded_for("drawings")]:
        if judge != name:
            return judge
    raise InputError(
        f"no other embedded space is there to judge what {name} draws",
        where="--judge",
        remedy="name one, such as ViT-B-32-quickgelu/openai",
    )


def require_other_space(judge: JointSpace, draws: JointSpace) -> JointSpace:
    """The judge. Raises InputError where it is the space that draws: it would approve of whatever it drew."""
    if judge.id == draws.id:
        raise InputError(f"{judge.name} also draws", where="--judge", remedy="name a space that does not")
    return judge


def enough(drawings: Sequence[Drawing], target: Target | Meaning, judge: JointSpace, text: str | None = None) -> int:
    """The stroke count beyond which the judge is hardly surer of what the drawings show: the knee of that curve.

    How sure it is: the probability that it gives, for each drawing, to the word that it takes the photo for, among the
    words of QuickDraw; or to the text.

    Args:
        drawings: of one target, of several stroke counts.
        target: what was drawn.
        judge: a space that had no part in the drawings.
        text: what was drawn of a meaning. Where there is none, or the judge does not know it, the loss takes the
            place of the probability.
    """
    if isinstance(target, Meaning) and (text is None or judge.unknown(text)):
        return knee({len(drawing.strokes): drawing.loss for drawing in drawings})
    sure = certainty(judge, np.stack([pixels(drawing.strokes) for drawing in drawings]), target, text)
    return knee({len(drawing.strokes): 1 - value for drawing, value in zip(drawings, sure, strict=True)})


def certainty(judge: JointSpace, pictures: np.ndarray, target: Target | Meaning, text: str | None) -> list[float]:
    """The probability of the target's word for each of (N, 3, H, W) pictures of drawings in [0, 1]; see ``enough``."""
    words = [word for word in quickdraw.drawings() if not judge.unknown(word)]
    classifier = ZeroShotClassifier(judge, words, "sketch")
    vectors = classifier.weights.vectors  # (K, D)
    if isinstance(target, Target):
        photo = Embedding(judge.encode_image(photo_picture(target)[None]), judge.id, "image")
        best = int(ZeroShotClassifier(judge, words, "photo").logits(photo)[0].argmax())
    else:
        vectors, best = np.concatenate([vectors, judge.encode_text([str(text)])]), len(words)
    eyes = judge.domain("drawing") if "drawing" in judge.domains else judge
    rows = eyes.encode_image(pictures)
    return softmax(judge.logit_scale * rows @ vectors.T)[:, best].tolist()
