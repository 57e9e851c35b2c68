"""Proposals: boxes in which something may be, by methods that know no labels.

A method is a function of (photo (3, H, W), limit, space) that gives ``Proposals``. Others are installed by an entry
point of the group ``clipx.proposals`` that names such a function.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

from torch import Tensor

from clipx.errors import InputError
from clipx.modalities.detect.boxes import Proposals, as_boxes
from clipx.modalities.detect.proposals.components import components
from clipx.modalities.detect.proposals.grid import grid
from clipx.modalities.detect.proposals.selective import selective

if TYPE_CHECKING:
    from clipx.space import JointSpace

GROUP = "clipx.proposals"
PROPOSALS: dict[str, Callable[[Tensor, int, JointSpace | None], Proposals]] = {
    "selective": selective,
    "components": components,
    "grid": grid,
}


def propose(photo: Tensor, method: str, limit: int, space: JointSpace | None = None) -> Proposals:
    """Boxes in which something may be, best first.

    Args:
        photo: (3, H, W) float RGB in [0, 1].
        method: a name of ``PROPOSALS``, or of an entry point of the group ``clipx.proposals``.
        limit: of boxes, at least 1.
        space: for methods that look with its image tower.

    Raises:
        InputError: an unknown method, a limit below 1, or what is no photo.
    """
    if not isinstance(photo, Tensor) or photo.ndim != 3 or photo.shape[0] != 3 or 0 in photo.shape:
        raise InputError("a photo must be a (3, H, W) tensor")
    if limit < 1:
        raise InputError(f"the limit of proposals must be at least 1, got {limit}")
    found = method_named(method)(photo, limit, space).first(limit)
    return Proposals(as_boxes(found.boxes, (int(photo.shape[1]), int(photo.shape[2]))), found.scores)


def method_named(name: str) -> Callable[[Tensor, int, JointSpace | None], Proposals]:
    """The function of a method. Raises InputError where there is none of that name."""
    installed = {point.name: point for point in entry_points(group=GROUP)}
    if name in PROPOSALS:
        return PROPOSALS[name]
    if name in installed:
        return installed[name].load()
    known = ", ".join([*PROPOSALS, *sorted(set(installed) - set(PROPOSALS))])
    raise InputError(f"no proposals named {name!r}", remedy=f"known: {known}")
