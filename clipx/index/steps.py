"""Indexing as three steps over batches, each a function of its arguments: read, encode, write.

``read`` needs the disk, ``encode`` the space, ``Table.write`` the index; so they may run in threads, as ``Index.add``
has them, or one day on different machines.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from clipx.embedding import Embedding
from clipx.errors import ClipxError, MissingDependencyError
from clipx.index.scan import Failure, Found
from clipx.index.table import Entry

if TYPE_CHECKING:
    from clipx.modality import Modality

THUMBNAIL_PX = 160  # longest side


@dataclass(frozen=True)
class Read:
    """A file that was read: its hash, and its sample unless the content is known already (``sample`` None)."""

    file: Found
    sha256: str
    sample: Any = None
    thumbnail: bytes | None = None


def read(file: Found, encoder: Modality, known: Callable[[str], bool], thumbnails: bool = True) -> Read | Failure:
    """Hash a file, and unless ``known(sha256)`` load it and make its thumbnail."""
    try:
        with open(file.path, "rb") as handle:
            sha256 = hashlib.file_digest(handle, "sha256").hexdigest()
        if known(sha256):
            return Read(file, sha256)
        sample = encoder.load(file.path)
        if sample is None:
            return Failure(file.path, "holds nothing", read=True)
        return Read(file, sha256, sample, thumbnail(encoder, sample) if thumbnails else None)
    except Exception as error:  # whatever a stranger's reader trips over: one file must not end the run
        return _failure(file, error)


def encode(batch: Sequence[Read], encoder: Modality) -> list[Entry | Failure]:
    """Samples -> entries, in their order. A sample that cannot be encoded is a failure; the others are not touched."""
    windows = _windows(batch, encoder)
    whole = [i for i, found in enumerate(windows) if found is None]
    vectors: dict[int, np.ndarray | Failure] = {}
    try:
        rows = encoder.encode([batch[i].sample for i in whole]).vectors.cpu().numpy()
        vectors = dict(zip(whole, rows[:, None], strict=True))
    except Exception as error:  # as above: the encoder itself is sound, see ``check``
        if len(whole) == 1:
            vectors[whole[0]] = _failure(batch[whole[0]].file, error)
        else:  # one by one, to find whose fault it is
            for i in whole:
                (alone,) = encode([batch[i]], encoder)
                vectors[i] = alone if isinstance(alone, Failure) else alone.vectors
    entries: list[Entry | Failure] = []
    for i, (item, found) in enumerate(zip(batch, windows, strict=True)):
        if isinstance(found, Failure):
            entries.append(found)
        elif found is not None:
            entries.append(Entry(item.file, item.sha256, found[1], found[0], item.thumbnail))
        elif isinstance(own := vectors[i], Failure):
            entries.append(own)
        else:
            entries.append(Entry(item.file, item.sha256, [None], own, item.thumbnail))
    return entries


def check(encoder: Modality) -> None:
    """Encode a sense's own example: where that fails, it is not the fault of any file, and none need be read.

    Raises:
        ClipxError: such as that the space has no tower for it.
    """
    try:
        encoder.encode([encoder.example()])
    except ClipxError:
        raise
    except NotImplementedError:  # a stranger's sense without an example
        pass


_Windows = tuple[np.ndarray, list[tuple[float, float]]]


def _windows(batch: Sequence[Read], encoder: Modality) -> list[_Windows | Failure | None]:
    """Of each sample its parts' vectors and times; None for one that does not last."""
    try:
        found = encoder.windows_of([item.sample for item in batch])
        return [None if own is None else (_rows(own, encoder), own[1]) for own in found]
    except Exception as error:
        if len(batch) == 1:
            return [_failure(batch[0].file, error)]
        return [own for item in batch for own in _windows([item], encoder)]  # one by one, to find whose fault it is


def _rows(found: tuple[Tensor, list[tuple[float, float]]], encoder: Modality) -> np.ndarray:
    """The vectors, once they are known to be of unit norm and as many as the times."""
    names = [str(time) for time in found[1]]
    return Embedding(found[0].detach().cpu().float(), encoder.space.id, encoder.name, names).vectors.numpy()


def _failure(file: Found, error: Exception) -> Failure:
    """Whose fault it is: what the system has against a file, or a package that is missing, may be mended without it."""
    if isinstance(error, MissingDependencyError):
        return Failure(file.path, f"{error.what}; {error.remedy}")
    cause = error.__cause__ if isinstance(error, ClipxError) else error
    if isinstance(cause, OSError) and cause.errno is not None:
        return Failure(file.path, f"cannot be read ({cause.strerror})")
    reason = f"{type(error).__name__}: {error}"
    if isinstance(error, ClipxError):
        reason = error.what if error.remedy is None else f"{error.what}; {error.remedy}"
    return Failure(file.path, " ".join(reason.split())[:300], read=True)


def thumbnail(encoder: Modality, sample: Any) -> bytes | None:
    """What the space looks at, the views side by side, as a JPEG of about 160 pixels a side."""
    from PIL import Image

    with torch.no_grad():
        views = encoder.pictures(sample)
    if views is None or not len(views):
        return None
    picture = montage(views[:: max(1, len(views) // 4)][:4])
    factor = max(1, min(picture.shape[-2:]) // (2 * THUMBNAIL_PX))  # a large one is thinned first: it is but a preview
    # numpy: torch would call in the threads that the encoder computes in
    shown = picture[:, ::factor, ::factor].cpu().numpy().transpose(1, 2, 0)
    image = Image.fromarray((shown.clip(0, 1) * 255 + 0.5).astype(np.uint8))
    if max(image.size) > 1.25 * THUMBNAIL_PX:
        image.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX), Image.Resampling.BILINEAR)
    file = io.BytesIO()
    image.save(file, "JPEG", quality=80)
    return file.getvalue()


def montage(views: Tensor) -> Tensor:
    """(V, 3, H, W) -> (3, R * H, C * W): up to four views, two in a row."""
    if len(views) < 4:
        return torch.cat(list(views[:2]), dim=-1) if len(views) > 1 else views[0]
    return torch.cat([torch.cat(list(pair), dim=-1) for pair in (views[:2], views[2:4])], dim=-2)
