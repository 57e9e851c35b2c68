"""What a drawing is drawn towards: a photo's features by stage, or a direction of the joint space."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from clipx._threads import pictures_at_once
from clipx.embedding import Embedding
from clipx.errors import InputError, SpaceMismatchError
from clipx.modalities.sketch.curves import CANVAS
from clipx.modalities.sketch.losses import SEMANTIC_WEIGHT, clipasso_loss, meaning_loss, stage_names
from clipx.modalities.sketch.saliency import best_words
from clipx.modalities.sketch.target import Target, inner, without_frame
from clipx.modalities.sketch.views import CROP_AREA, ViewDraws, apply_views, draw_views

if TYPE_CHECKING:
    from clipx.modalities.sketch.config import DrawConfig
    from clipx.space import JointSpace

MEANING_CROP_AREA = (0.7, 0.9)  # CLIPDraw's views
AT_ONCE = 64  # pictures in one pass of the tower, which bounds memory
# On a CPU fewer: tensors that fit into no cache cost more a picture. With gradients, on one core, lite took 13 ms a
# picture in batches of 12 and 19 in batches of 63 at 128 px, and 39 in fives and 137 in sixties at 224 px.
PIXELS_PER_THREAD = 200_000
SMALL = 128  # pixels: four times as fast as 224


@dataclass(frozen=True)
class Meaning:
    """Directions of a joint space to draw towards, and away from.

    Args:
        toward: of one row: a sentence, a sound, a cloud.
        away: of any number of rows: what the drawing is not to be.
    """

    toward: Embedding
    away: Embedding | None = None

    def __post_init__(self) -> None:
        if len(self.toward) != 1:
            raise InputError(f"a drawing is of one thing, got {len(self.toward)} vectors", remedy="take a slice of 1")
        if self.away is not None and self.away.space_id != self.toward.space_id:
            raise SpaceMismatchError("what to draw and what to avoid are of two spaces")

    def sha256(self) -> str:
        """Identity of what is drawn."""
        parts = [self.toward] if self.away is None else [self.toward, self.away]
        return hashlib.sha256(b"|".join(part.vectors.tobytes() for part in parts)).hexdigest()

    @classmethod
    def of_text(cls, space: JointSpace, text: str, avoid: Sequence[str] = ()) -> Meaning:
        """What a sentence means, and what it is not to be.

        Raises:
            VocabularyError: a word that the space does not know.
        """
        space.require_words([text, *avoid])
        return cls(space.embed_text([text]), space.embed_text(list(avoid)) if avoid else None)


def objective_for(
    targets: Sequence[Target | Meaning],
    space: JointSpace,
    config: DrawConfig,
    maps: Sequence[np.ndarray | None] = (),
    about: str | None = None,
) -> Objective:
    """The objective of targets that are of one kind; ``maps`` and ``about``: see ``PhotoObjective``.

    Raises:
        InputError: photos and meanings together. SpaceMismatchError: a meaning of another space.
    """
    photos = [target for target in targets if isinstance(target, Target)]
    meanings = [target for target in targets if isinstance(target, Meaning)]
    if photos and meanings:
        raise InputError("photos and meanings are drawn separately", remedy="call draw once for each kind")
    if not photos:
        return MeaningObjective(meanings, space, config)
    return PhotoObjective(photos, space, config, maps, about)


class Objective:
    """The loss of drawings, each in several views.

    Views are warped at the tower's own size where that is smaller than the canvas and ``config.small_views`` holds, and
    at 128 px where the tower takes any size and a picture is the mean of its cells; a black drawing is one channel
    until the tower wants three.
    """

    crop_area = (CROP_AREA, CROP_AREA)

    def __init__(self, space: JointSpace, config: DrawConfig):
        self.space, self.config, self.device = space, config, space.device
        height, width = space.image_size
        drawing = config.across and "drawing" in space.domains
        self.drawing_space = space.domain("drawing") if drawing else space  # which encodes drawings
        own = min(height, SMALL if space.backbone.averages else height)
        self.side = config.side or (own if config.small_views and height == width and own < CANVAS else CANVAS)
        if config.side and not space.backbone.averages and space.image_size != (config.side, config.side):
            raise InputError(f"this tower looks at {height} x {width} pixels only", where=space.name, remedy="side=0")
        self.resize = not space.backbone.averages  # to the one size that the tower takes
        self.at_once = AT_ONCE
        if self.device.type == "cpu":
            seen = (height, width) if self.resize else (self.side, self.side)
            self.at_once = min(AT_ONCE, pictures_at_once(PIXELS_PER_THREAD, *seen))
        default = 1.0 if drawing else SEMANTIC_WEIGHT
        self.semantic = default if config.semantic is None else config.semantic
        self.pool: ViewDraws | None = None
        if config.pool and config.views:
            self.pool = self._draw(torch.Generator().manual_seed(0), config.pool)

    def __call__(self, of: Sequence[tuple[int, int, int]], images: Tensor, step: int) -> tuple[Tensor, Tensor]:
        """The loss of each of B drawings at a step, and that of its plain view (no gradient).

        Args:
            of: (target, stroke count, seed) of each drawing.
            images: (B, 1 or 3, 224, 224) in [0, 1].
            step: decides which views are taken.

        Returns:
            (B,), (B,).
        """
        config = self.config
        rows = torch.tensor([target for target, _, _ in of])
        fitted = self._fitted(images)
        draws: list[ViewDraws] | None = None
        which = torch.tensor([0])  # of the pool's views, the plain one first
        if not config.views:
            views = fitted[:, None]
        elif self.pool is not None:
            chosen = torch.randperm(config.pool, generator=torch.Generator().manual_seed(1 + step))[: config.views]
            which = torch.cat([which, 1 + chosen])
            views = apply_views(fitted, self.pool[chosen])
        else:  # each run its own, as if it were alone; a stream for every step, so that a resumed run takes the same
            draws = [self._draw(torch.Generator().manual_seed(s * 1_000_003 + step), config.views) for _, _, s in of]
            views = torch.cat([apply_views(one[None], draw) for one, draw in zip(fitted, draws, strict=True)])
        count = views.shape[1]
        drawn = self._encode(views.flatten(0, 1), count)
        wanted = self._wanted(rows, which, draws)
        with torch.no_grad():
            plain = self._loss(_every(drawn, count), _every(wanted, count), 1)
        return self._loss(drawn, wanted, count), plain

    @torch.no_grad()
    def plain(self, target: int, images: Tensor) -> Tensor:
        """(B, 1 or 3, 224, 224) drawings of one target -> (B,) their losses in the plain view."""
        parts = []
        for part in self._fitted(images).split(self.at_once):
            rows = torch.full((len(part),), target)
            wanted = self._wanted(rows, torch.tensor([0]), None if self.pool is not None else [])
            parts.append(self._loss(self._encode(part, 1), wanted, 1))
        return torch.cat(parts)

    def _draw(self, stream: torch.Generator, count: int) -> ViewDraws:
        return draw_views(stream, count, self.side, self.crop_area)

    def _fitted(self, images: Tensor) -> Tensor:
        if self.side == CANVAS:
            return images
        return self.space.preprocess.sample(images, (self.side, self.side)).clamp(0, 1)  # bicubic overshoots

    def _encode(self, pixels: Tensor, views: int) -> Any:
        """(B V, 1 or 3, S, S) drawings, each in V views, the plain one first -> features."""
        raise NotImplementedError

    def _wanted(self, rows: Tensor, which: Tensor, draws: list[ViewDraws] | None) -> Any:
        """Features of the targets ``rows`` in the pool's views ``which``, or in the plain one and ``draws`` of each."""
        raise NotImplementedError

    def _loss(self, drawn: Any, wanted: Any, views: int) -> Tensor:
        raise NotImplementedError


class PhotoObjective(Objective):
    """CLIPasso's: a tower's stages and embedding of the drawing against those of the photo.

    The stages of a tower that averages its last one, such as lite's, are normalised over channels at each place, as
    LPIPS does (Zhang et al., CVPR 2018).

    Args:
        targets: T photos.
        space: whose tower.
        config: ``focus`` above 0 weighs places of the stages by ``maps`` and leaves out the photo's frame.
        maps: (224, 224) saliency of each photo, or None; without them places of ``Target.where`` have equal weights.
        about: what to draw on each photo. Where drawings are encoded as drawings, the semantic term compares them with
            a mix of the photo's vector and of words; ``config.words`` is the share of the words: ``about``, or else
            those that fit each photo best.

    Raises:
        VocabularyError: ``about`` holds a word that an embedded space does not know.
    """

    def __init__(
        self,
        targets: Sequence[Target],
        space: JointSpace,
        config: DrawConfig,
        maps: Sequence[np.ndarray | None] = (),
        about: str | None = None,
    ):
        super().__init__(space, config)
        weighed = bool(config.focus and maps) or any(target.where is not None for target in targets)
        with torch.no_grad():
            photos = [without_frame(target) if weighed else target.pixels for target in targets]
            self.photos = self._fitted(torch.stack(photos).to(self.device))  # (T, 3, S, S)
            self.places: Tensor | None = None  # (T, 1, S, S)
            if weighed:
                maps = maps or [None] * len(targets)
                places = [_places(*pair, config.focus) for pair in zip(targets, maps, strict=True)]
                self.places = self._fitted(torch.stack(places)[:, None].to(self.device))
            _, stages = space.encode_with_stages(self.photos[:1], resize=self.resize)
            names = config.stages or stage_names(stages)
            if missing := [name for name in names if name not in stages]:
                raise InputError(f"no stage {missing[0]!r}; there are {', '.join(stages)}", where=space.name)
            self.grids = {name: (stages[name].shape[-2], stages[name].shape[-1]) for name in names}
            self.last = [name for name in stages if name in names][-1]
            views = self.photos[:, None] if self.pool is None else apply_views(self.photos, self.pool)
            shape = views.shape[:2]  # features of the pool's views, (T, V, ...)
            parts = [self._features(part) for part in views.flatten(0, 1).split(self.at_once)]
            vectors = torch.cat([part[1] for part in parts]).unflatten(0, shape)
            if self.drawing_space is not space:  # of every view the whole photo's, and its words
                whole = torch.stack(photos).split(self.at_once)
                own = torch.cat([space.encode_image(part.to(self.device)) for part in whole])
                if config.words:
                    own = torch.lerp(own, self._words(photos, about).to(own), config.words)
                vectors = own[:, None].expand(*shape, -1)
            looks = {}
            if self.places is not None:
                warped = self.places[:, None] if self.pool is None else apply_views(self.places, self.pool)
                looks = self._weights(warped)
        self.known = (
            {name: torch.cat([part[0][name] for part in parts]).unflatten(0, shape) for name in self.grids},
            vectors,
            {name: value.unflatten(0, shape) for name, value in looks.items()},
        )

    def _words(self, photos: Sequence[Tensor], about: str | None) -> Tensor:
        """(T, D) unit vectors of the words that say what each photo shows, or of ``about``."""
        if about is not None:
            self.space.require_words([about])
            return torch.from_numpy(self.space.encode_text([about])).expand(len(photos), -1)
        return F.normalize(torch.stack([best_words(self.space, photo) for photo in photos]), dim=-1)

    def _encode(self, pixels: Tensor, views: int) -> tuple[dict[str, Tensor], Tensor]:
        kept, rows = self._features(pixels)
        if self.drawing_space is not self.space:  # what it is, the plain view says; where things are, all views do
            rows = self.drawing_space.encode_image(pixels[::views].expand(-1, 3, -1, -1)).repeat_interleave(views, 0)
        return kept, rows

    def _features(self, pixels: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """Features by stage; and vectors, unless another space encodes drawings."""
        pixels = pixels.expand(-1, 3, -1, -1)
        if self.drawing_space is self.space:
            rows, stages = self.space.encode_with_stages(pixels, resize=self.resize)
        else:
            rows = pixels.new_zeros(len(pixels), 0)
            stages = self.space.stages(pixels, resize=self.resize, last=self.last)
        kept = {name: stages[name] for name in self.grids}
        if self.space.backbone.averages:  # its stages differ in scale by orders of magnitude
            kept = {name: F.normalize(stage, dim=1) * stage.shape[1] ** 0.5 for name, stage in kept.items()}
        return kept, rows

    def _weights(self, places: Tensor) -> dict[str, Tensor]:
        """(T, V, 1, S, S) -> by stage (T V, 1, h, w), of mean 1."""
        coarse = {name: F.adaptive_avg_pool2d(places.flatten(0, 1), grid) for name, grid in self.grids.items()}
        return {name: c / c.mean(dim=(1, 2, 3), keepdim=True).clamp(min=1e-6) for name, c in coarse.items()}

    @torch.no_grad()
    def _wanted(self, rows: Tensor, which: Tensor, draws: list[ViewDraws] | None) -> Any:
        if draws:

            def views_of(pictures: Tensor) -> Tensor:
                parts = [apply_views(pictures[row][None], one) for row, one in zip(rows, draws, strict=True)]
                return torch.cat(parts)

            weights = {} if self.places is None else self._weights(views_of(self.places))
            kept, vectors = self._features(views_of(self.photos).flatten(0, 1))
            if self.drawing_space is not self.space:
                vectors = self.known[1][rows, 0].repeat_interleave(1 + len(draws[0]), 0)
            return kept, vectors, weights

        def known(value: Tensor) -> Tensor:
            return value[rows[:, None], which].flatten(0, 1)

        stages, embedded, weights = self.known
        found, places = ({name: known(value) for name, value in kind.items()} for kind in (stages, weights))
        return found, known(embedded), places

    def _loss(self, drawn: Any, wanted: Any, views: int) -> Tensor:
        return clipasso_loss(drawn, wanted[:2], self.grids, views, wanted[2], self.semantic)


def _places(target: Target, looks: np.ndarray | None, focus: float) -> Tensor:
    """(224, 224) in [0, 1]: how a place counts; not at all at the photo's frame, where towers see an edge that is none.

    ``focus`` is the share of the sum that goes by saliency.
    """
    weights, inside = torch.zeros(CANVAS, CANVAS), inner(target)
    if not weights[inside].numel():  # a photo as narrow as its frame
        return torch.ones(CANVAS, CANVAS)
    weights[inside] = 1.0
    if looks is not None:
        salient = torch.from_numpy(looks).float()[inside]
        weights[inside] = 1 - focus + focus * salient / salient.mean().clamp(min=1e-6)
    if target.where is not None:
        weights *= target.where
    return weights / weights.max().clamp(min=1e-6)


class MeaningObjective(Objective):
    """CLIPDraw's: the same without the stages, towards a direction of the space and away from others."""

    crop_area = MEANING_CROP_AREA

    def __init__(self, targets: Sequence[Meaning], space: JointSpace, config: DrawConfig):
        super().__init__(space, config)
        for target in targets:
            if target.toward.space_id != space.id:
                raise SpaceMismatchError(
                    f"a vector of space {target.toward.space_id} cannot be drawn in space {space.id}",
                    remedy="encode it with the space that draws",
                )
        toward = np.concatenate([target.toward.vectors for target in targets])
        self.toward = torch.from_numpy(toward).to(self.device)
        most = max(0 if target.away is None else len(target.away) for target in targets)
        self.away = torch.zeros(len(targets), most, space.dim, device=self.device)  # a zero row is avoided at no cost
        for row, target in zip(self.away, targets, strict=True):
            if target.away is not None:
                row[: len(target.away)] = torch.from_numpy(target.away.vectors)

    def _encode(self, pixels: Tensor, views: int) -> Tensor:
        return self.drawing_space.encode_image(pixels.expand(-1, 3, -1, -1))

    def _wanted(self, rows: Tensor, which: Tensor, draws: list[ViewDraws] | None) -> tuple[Tensor, Tensor]:
        views = 1 + self.config.views if draws else len(which)
        return self.toward[rows].repeat_interleave(views, 0), self.away[rows].repeat_interleave(views, 0)

    def _loss(self, drawn: Any, wanted: Any, views: int) -> Tensor:
        toward, away = wanted
        return meaning_loss(drawn, toward, away, views)


def _every(found: Any, count: int) -> Any:
    """The plain views of all, every ``count``-th row, of features however nested."""
    if isinstance(found, Tensor):
        return found[::count]
    if isinstance(found, dict):
        return {name: _every(value, count) for name, value in found.items()}
    return tuple(_every(part, count) for part in found)
