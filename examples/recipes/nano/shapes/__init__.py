"""Parametric objects: `make("chair", rng)` gives another chair for every seed.

Each class is one function that draws its proportions, its parts and its style at random. The ten classes of ModelNet10
are the most varied, because real CAD shapes are classified with a network that saw only these. Nothing here was
measured on, or fitted to, any data set.
"""

from __future__ import annotations

import numpy as np
from solids import Builder, Mesh

from . import belongings, forms, furniture, kitchen, modelnet, outdoors, tools, vehicles
from .parts import MAKERS

# In this order, not in the imports': a recipe's seeds count the classes.
_FILES = (modelnet, furniture, kitchen, belongings, vehicles, outdoors, tools, forms)
CLASSES: tuple[str, ...] = tuple(
    name for file in _FILES for name, maker in MAKERS.items() if maker.__module__ == file.__name__
)


def make(cls: str, rng: np.random.Generator) -> Mesh:
    """One random object of the class: z up, facing -y, bounding box centred, inside the unit sphere.

    Raises KeyError for a class that is not in `CLASSES`.
    """
    builder = Builder(rng)
    MAKERS[cls](builder)
    vertices, faces, part, names = builder.arrays()
    vertices = _deform(vertices, rng)
    vertices -= (vertices.min(0) + vertices.max(0)) / 2
    vertices /= np.sqrt((vertices**2).sum(1).max()) * (1 + 1e-6)
    return Mesh(vertices.astype(np.float32), faces.astype(np.int32), part.astype(np.int16), names)


def _deform(vertices: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A slight stretch, and at times a shear or a taper, so that no two boxes are alike."""
    vertices = vertices * rng.uniform(0.88, 1.14, 3)
    if rng.random() < 0.2:
        vertices[:, :2] += vertices[:, 2:] * rng.uniform(-0.04, 0.04, 2)
    if rng.random() < 0.2:
        z = vertices[:, 2:]
        vertices[:, :2] *= 1 + rng.uniform(-0.08, 0.08) * (z - z.min()) / (np.ptp(z) + 1e-9)
    return vertices
