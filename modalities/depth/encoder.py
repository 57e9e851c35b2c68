"""The modality depth: a map is encoded as a coloured picture."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np

from clipx.errors import FileError, InputError
from clipx.modality import Modality
from clipx.parts import Parts

if TYPE_CHECKING:
    from clipx.modalities.depth.maps import DepthMap

_MAPS_AT_ONCE = 64


class Depth(Modality):
    """Depth maps, encoded as their picture coloured by nearness (red near, blue far, unknown black).

    A sample is a ``DepthMap``. It owns no suffix, as ``.png`` is a picture's: name it with ``--modality depth``.
    Of a folder it takes the 16-bit grey PNGs alone, so that photos may lie among them.
    """

    name = "depth"
    suffixes = ()
    prompts = "depth"
    array_key = "depth_m"

    def load(self, path: str | PathLike) -> DepthMap:
        """Read a 16-bit PNG in millimetres; 0 and 65535 are unknown.

        Raises:
            FileError: missing, damaged, no 16-bit grey picture, or no pixel of known depth.
        """
        from clipx.modalities.depth.files import read_depth
        from clipx.modalities.depth.maps import DepthMap

        depth = DepthMap(read_depth(path, "mm16"), source=str(path))
        if not depth.known.any():
            raise FileError("no pixel has a depth", where=path)
        return depth

    @classmethod
    def claims(cls, path: str | PathLike) -> bool:
        """Whether a file in a folder is a PNG of 16-bit grey, by its header."""
        try:
            with open(path, "rb") as file:
                start = file.read(26)
        except OSError:
            return True
        return start[:8] == b"\x89PNG\r\n\x1a\n" and start[24:26] == b"\x10\0"

    def from_array(self, array: Any, **about: Any) -> DepthMap:
        """(H, W) metres -> a sample; 0 and NaN are unknown."""
        import torch

        from clipx.modalities.depth.maps import DepthMap

        values = np.asarray(array)
        if values.dtype.kind not in "fiu":
            raise InputError(f"depth must be numbers, got {values.dtype}")
        return DepthMap(torch.from_numpy(values.astype(np.float32)))

    def parts(self, samples: Sequence[DepthMap]) -> Parts:
        rows = []
        for start in range(0, len(samples), _MAPS_AT_ONCE):
            # resized one by one, so that maps of different sizes share a batch
            seen = [self._resized(sample) for sample in samples[start : start + _MAPS_AT_ONCE]]
            rows.append(self.space.encode_image(np.concatenate(seen)))
        return Parts.whole(np.concatenate(rows))

    def _resized(self, sample: DepthMap) -> np.ndarray:
        return self.space.preprocess.resize(self.pictures(sample)).clip(0, 1)

    def pictures(self, sample: DepthMap) -> np.ndarray:
        """The map in colours, (1, 3, H, W)."""
        from clipx.modalities.depth.maps import colored

        return colored(sample)[None].numpy()

    @classmethod
    def example(cls) -> DepthMap:
        """A ball 1.5 m away, before a floor that runs from 1 to 5 m; 48 x 64."""
        import torch

        from clipx.modalities.depth.maps import DepthMap

        y, x = torch.meshgrid(torch.linspace(-1, 1, 48), torch.linspace(-1, 1, 64), indexing="ij")
        floor = 3 - 2 * y
        return DepthMap(torch.where(x**2 + y**2 < 0.3, 1.5, floor))
