"""Zero-shot detectors of the transformers library, such as Grounding DINO and OWLv2, with the results of this package.

>>> detector = HubDetector("IDEA-Research/grounding-dino-tiny")                  # doctest: +SKIP
>>> detector.ground(photo, "a red cup on a table").phrases                       # doctest: +SKIP

Grounding DINO (Liu et al., ECCV 2024) reads all phrases as one text, in lower case with a full stop behind each, and
scores every token; OWL-ViT and OWLv2 (Minderer et al., 2022 and 2023) read a list of phrases.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from clipx._quiet import suppress_logging
from clipx.errors import ClipxError, FileError, InputError, SpaceError, first_line
from clipx.modalities.detect.boxes import Detections, Grounding, area, non_maximum_suppression
from clipx.modalities.detect.grounder import best_boxes
from clipx.modalities.detect.phrases import noun_phrases

TOKEN_MODELS = ("grounding-dino", "mm-grounding-dino")  # score tokens
QUERY_MODELS = ("owlv2", "owlvit")  # score phrases
KNOWN = (*TOKEN_MODELS, *QUERY_MODELS)
REMEDY = f"known: {', '.join(KNOWN)}"


class HubDetector:
    """A zero-shot detector of the transformers library, in float32.

    Args:
        model: a folder with its files, which never downloads anything, or its name on the hub, from which missing files
            are fetched because it was named. Only safetensors are read.
        device: where it computes, such as ``"cpu"`` or ``"cuda"``.

    Raises:
        MissingDependencyError: transformers is not installed.
        FileError: a folder that does not exist. SpaceError: no such model, or one of another kind.
    """

    def __init__(self, model: str | PathLike, device: str = "cpu"):
        self.name, self.device = os.fspath(model), device
        self.model, self.processor = _loaded(self.name, device)
        self.kind: str = self.model.config.model_type

    def ground(self, photo: Tensor, sentence: str, *, top: int = 1, chunker: str = "rules") -> Grounding:
        """Find the phrases of a sentence in a photo.

        Args:
            photo: (3, H, W) float RGB in [0, 1].
            sentence: see ``noun_phrases``.
            top: boxes of each phrase.
            chunker: see ``noun_phrases``.

        Returns:
            Up to ``top`` boxes of each phrase that do not overlap much; scores are the model's own, in [0, 1]: how sure
            it is that the box shows the phrase.

        Raises:
            InputError: as ``noun_phrases``; ``top`` below 1; a sentence that is too long for the model.
        """
        if top < 1:
            raise InputError(f"top must be at least 1, got {top}")
        phrases = noun_phrases(sentence, chunker)
        boxes, scores = self.scored(photo, [phrase.text for phrase in phrases])  # (Q, 4), (Q, P)
        kept = area(boxes) > 0
        size = int(photo.shape[1]), int(photo.shape[2])
        return best_boxes(size, sentence, phrases, boxes[kept], scores[kept], top)

    def detect(
        self, photo: Tensor, labels: Sequence[str], *, threshold: float = 0.25, overlap: float = 0.5
    ) -> Detections:
        """Find what labels name in a photo.

        Args:
            photo: (3, H, W) float RGB in [0, 1].
            labels: K >= 1 different words or phrases.
            threshold: least score of a box, in [0, 1].
            overlap: of two boxes of one label with a larger IoU the worse is left out.

        Returns:
            Each box with its best label, best first.

        Raises:
            InputError: no labels, one that is blank or given twice, numbers out of range, or labels too long.
        """
        if not 0 <= threshold <= 1:  # NaN fails too
            raise InputError(f"the threshold must be in [0, 1], got {threshold:g}")
        _check_labels(labels)
        boxes, scores = self.scored(photo, labels)
        index, best = scores.argmax(axis=1), scores.max(axis=1)
        kept = np.flatnonzero((best >= threshold) & (area(boxes) > 0))
        kept = kept[non_maximum_suppression(boxes[kept], best[kept], overlap, index[kept])]
        size = int(photo.shape[1]), int(photo.shape[2])
        return Detections(size, tuple(labels), boxes[kept], index[kept].astype(np.int64), best[kept])

    def scored(self, photo: Tensor, phrases: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """All boxes of the model and the score of every phrase in each: (Q, 4) pixels and (Q, P) in [0, 1].

        Args:
            photo: (3, H, W) float RGB in [0, 1].
            phrases: P >= 1.

        Raises:
            InputError: another shape or range, or phrases too long for the model.
        """
        import torch

        picture = _as_picture(photo)
        texts = [" ".join(phrase.lower().replace(".", " ").split()) for phrase in phrases]
        if not all(texts):
            raise InputError("a phrase has no word", where=f"phrase {[bool(t) for t in texts].index(False)}")
        tokens = self.kind in TOKEN_MODELS
        text: Any = " ".join(f"{t}." for t in texts) if tokens else [texts]
        inputs = self.processor(images=picture, text=text, return_tensors="pt").to(self.device)
        self._check_length(inputs["input_ids"].shape[-1])
        with torch.no_grad():
            found = self.model(**inputs)
        probabilities = found.logits[0].float().sigmoid().cpu()  # (Q, tokens or phrases)
        if tokens:
            spans = self._token_spans(texts, inputs["input_ids"][0].tolist())
            probabilities = torch.stack([probabilities[:, span].amax(dim=1) for span in spans], dim=1)
        boxes = _in_pixels(found.pred_boxes[0].float().cpu().numpy(), tuple(photo.shape[1:]), self.kind == "owlv2")
        return boxes, probabilities.numpy().astype(np.float32)

    def _check_length(self, tokens: int) -> None:
        """Raise InputError for more tokens than the text tower reads: the model would leave out the last words."""
        config = self.model.config
        text = config.text_config.max_position_embeddings
        limit = min(text, config.max_text_len) if self.kind in TOKEN_MODELS else text
        if tokens > limit:
            raise InputError(f"the words are {tokens} tokens, {self.kind} reads {limit}", remedy="give fewer words")

    def _token_spans(self, texts: Sequence[str], ids: list[int]) -> list[list[int]]:
        """Which tokens of the joined text each phrase has, without the full stop behind it."""
        joined = " ".join(f"{t}." for t in texts)
        encoded = self.processor.tokenizer(joined, return_offsets_mapping=True)
        if list(encoded["input_ids"]) != ids[: len(encoded["input_ids"])]:
            raise SpaceError("the tokenizer does not say where its tokens are in the text", where=self.name)
        spans, start = [], 0
        for phrase in texts:
            end = start + len(phrase)
            spans.append([i for i, (a, b) in enumerate(encoded["offset_mapping"]) if start <= a < b <= end])
            start = end + 2
        return spans


def _loaded(name: str, device: str) -> tuple[Any, Any]:
    """The model and its processor, or one line that says why not."""
    import torch

    from clipx.backbone.hub import fetching

    folder = Path(name)
    if not folder.is_dir() and (folder.is_absolute() or name.startswith((".", "~")) or folder.exists()):
        raise FileError("no such folder", where=name, remedy="name a folder with a model, or its name on the hub")
    options: dict[str, Any] = {"local_files_only": folder.is_dir(), "trust_remote_code": False}
    with fetching(name):  # which also says what a missing package is part of
        from transformers import AutoConfig, AutoModelForZeroShotObjectDetection, AutoProcessor

        with _read_locally(folder) if folder.is_dir() else nullcontext(), suppress_logging():
            kind = AutoConfig.from_pretrained(name, **options).model_type
            if kind not in KNOWN:
                raise SpaceError(f"is of kind {kind!r}, no zero-shot detector", where=name, remedy=REMEDY)
            weights = {"use_safetensors": True, "dtype": torch.float32}
            model = AutoModelForZeroShotObjectDetection.from_pretrained(name, **weights, **options)
            return model.to(device).eval(), AutoProcessor.from_pretrained(name, **options)


@contextmanager
def _read_locally(folder: Path) -> Iterator[None]:
    """Turn what goes wrong with a folder's files into one line, and show no progress bar of half a second.

    The network has no part in it.
    """
    from transformers.utils import logging as notes

    shown = notes.is_progress_bar_enabled()
    notes.disable_progress_bar()
    try:
        yield
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        if isinstance(error, ClipxError | ImportError):
            raise
        raise SpaceError(f"is no detector: {first_line(error)}", where=folder, remedy=REMEDY) from error
    finally:
        if shown:
            notes.enable_progress_bar()


def _as_picture(photo: Tensor) -> Any:
    """(3, H, W) in [0, 1] -> a Pillow picture of 8 bits, which the processors take."""
    from PIL import Image as pil

    if photo.ndim != 3 or photo.shape[0] != 3 or 0 in photo.shape or not photo.is_floating_point():
        raise InputError(f"a photo must be a float tensor of shape (3, H, W), got {tuple(photo.shape)}")
    low, high = float(photo.min()), float(photo.max())
    if not (low >= 0 and high <= 1):  # NaN fails too
        raise InputError(f"pixels must be in [0, 1], got {low:.3g} to {high:.3g}")
    pixels = (photo.detach().cpu() * 255).round().byte().permute(1, 2, 0).numpy()
    return pil.fromarray(pixels)


def _in_pixels(boxes: np.ndarray, size: tuple[int, ...], square: bool) -> np.ndarray:
    """(Q, 4) middles and sides as shares of the picture -> boxes in pixels, cut at the border.

    Args:
        square: the shares are of the square that the picture was padded to, right and below, as OWLv2 does.
    """
    height, width = size
    sides = np.array([max(size)] * 2 if square else [width, height], np.float32)
    middle, half = boxes[:, :2] * sides, boxes[:, 2:] * sides / 2
    corners = np.concatenate([middle - half, middle + half], axis=1)
    return corners.clip(0, np.array([width, height] * 2)).astype(np.float32)


def _check_labels(labels: Sequence[str]) -> None:
    if isinstance(labels, str) or not labels:
        raise InputError("labels must be a list of at least one word")
    spoken = [" ".join(str(label).lower().split()) for label in labels]
    if twice := sorted({label for label in spoken if spoken.count(label) > 1}):
        raise InputError(f"label {twice[0]!r} is given twice")
