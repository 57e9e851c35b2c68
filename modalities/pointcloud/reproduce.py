"""PointCLIP and PointCLIP V2 as their papers measured them, and the figures that they published."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from clipx._arrays import to_array
from clipx.errors import InputError
from clipx.fewshot import ViewSearch, fit_shots
from clipx.figures import figures_of
from clipx.modalities.pointcloud.cloud import Cloud
from clipx.modalities.pointcloud.encoder import CloudConfig, PointCloud
from clipx.modalities.pointcloud.projection import PROJECTIONS
from clipx.progress import note

if TYPE_CHECKING:
    from clipx.datasets import LabelledData
    from clipx.embedding import Embedding
    from clipx.prompts import Prompts
    from clipx.space import JointSpace
    from clipx.zeroshot import ZeroShotClassifier


class Published(NamedTuple):
    """A figure: top-1 in percent, who reports it, and with how many shots."""

    acc1: float
    source: str
    shots: int = 0


class System(NamedTuple):
    """What a paper did."""

    paper: str
    projection: str
    prompts: str
    figures: Mapping[str, tuple[Published, ...]]  # by data set, and ScanObjectNN's by variant


SHOTS = 16
V1, V2 = "PointCLIP, CVPR 2022", "PointCLIP V2, ICCV 2023"
AGAIN = f"measured again in {V2}"
SYSTEMS = {
    "pointclip": System(
        V1,
        "pointclip_v1",
        "pointclip",
        {
            "ModelNet10": (Published(30.2, V1),),
            "ModelNet40": (Published(20.18, V1), Published(23.78, AGAIN), Published(87.20, V1, SHOTS)),
            "ScanObjectNN OBJ_ONLY": (Published(15.38, V1), Published(21.34, AGAIN)),
        },
    ),
    "pointclip-v2": System(
        f"{V2}, with ViT-B/16 and sentences of GPT-3",
        "pointclip_v2",
        "pointclip",
        {
            "ModelNet10": (Published(73.13, V2),),
            "ModelNet40": (Published(64.22, V2),),
            "ScanObjectNN OBJ_ONLY": (Published(50.09, V2),),
            "ScanObjectNN OBJ_BG": (Published(41.22, V2),),
            "ScanObjectNN PB_T50_RS": (Published(35.36, V2),),
        },
    ),
}
MODELNET10 = "bathtub bed chair desk dresser monitor night_stand sofa table toilet".replace("_", " ")
MODELNET10_TEST = 908
# open_clip's names -> as the published weights are called.
TOWERS = {"RN50": "rn50", "RN101": "rn101", "ViT-B-16": "vitb16", "ViT-B-32": "vitb32"}
POINTS = 1024  # the first ones of each cloud, as released


class FirstPoints(PointCloud):
    """The released loaders take the first points, of clouds that are stored shuffled, and leave them in place."""

    def from_array(self, array: Any, up: str | None = None, **more: Any) -> Any:
        """The cloud of an array, as the released loaders hand it on."""
        cloud = super().from_array(array, up, **more)  # refuses what is no cloud
        return Cloud(array[:POINTS].astype(np.float32), cloud.up, as_stored=True)


@dataclass(frozen=True)
class Reproduction:
    """One system on one data set in a space.

    Args:
        system: a key of ``SYSTEMS``.
        space: where it is measured.
        data: what is measured, N clouds.
        benchmark: the data set's name in ``SYSTEMS``, see ``benchmark_of``.
        names, targets: the K classes, and (N,) each cloud's among them.
        seed: of the intervals and of the shots.
        prompts: the user's own; None for the paper's.
        views_of: (modality, data) -> vectors, a row for each view.
        classifier: (space, names, prompts) -> the classifier by words.
    """

    system: str
    space: JointSpace
    data: LabelledData
    benchmark: str
    names: Sequence[str]
    targets: Any
    seed: int
    prompts: Prompts | None
    views_of: Callable[[PointCloud, LabelledData], Embedding]
    classifier: Callable[[JointSpace, Sequence[str], Prompts], ZeroShotClassifier]

    @property
    def config(self) -> CloudConfig:
        """How the paper draws clouds."""
        return CloudConfig(projection=SYSTEMS[self.system].projection, points=POINTS)

    def by_words(self) -> list[dict[str, Any]]:
        """A row for each way to weigh views: all equal, and what was searched on test labels."""
        about = SYSTEMS[self.system]
        text = self.classifier(self.space, self.names, about.prompts if self.prompts is None else self.prompts)
        views = self.views_of(FirstPoints(self.space, self.config), self.data)
        projection = PROJECTIONS[about.projection]
        weights_and_scale = text.weights, text.logit_scale
        ways: list[tuple[str, str | None, ViewSearch]] = [
            ("equal view weights", None, ViewSearch((1.0,) * projection.views, *weights_and_scale))
        ]
        if self.system == "pointclip":
            note("searching view weights on these labels, as the released code does")
            searched = ViewSearch.fit(views, self.targets.tolist(), *weights_and_scale, projection.views)
            ways.append(("view weights searched on these very labels", "the labels measured on", searched))
        elif (given := _published_weights(self.space.name, self.benchmark)) is not None:
            weights = projection.weights[given]
            fixed = ViewSearch(weights.values, *weights_and_scale)
            ways.append((f"published view weights {given}", weights.fitted_on, fixed))
        return [
            {"name": name, "tuned_on": tuned, "view_weights": list(way.view_weights), **self._figures(way, views)}
            for name, tuned, way in ways
        ]

    def by_adapter(self, train: LabelledData, known: Any) -> dict[str, Any]:
        """The row of the inter-view adapter.

        Args:
            train: where the shots are drawn from, M clouds.
            known: (M,) int, each cloud's class.
        """
        learner = FirstPoints(self.space, CloudConfig(projection="pointclip_v1_few_shot", points=POINTS))
        prompts = "pointclip_few_shot" if self.prompts is None else self.prompts
        text = self.classifier(self.space, self.names, prompts)
        test, shots = self.views_of(learner, self.data), self.views_of(learner, train)
        count = PROJECTIONS["pointclip_v1_few_shot"].views
        adapter = fit_shots("adapter", shots, known.tolist(), text, SHOTS, self.seed, count, train.title)
        name, on = f"inter-view adapter, {SHOTS} shots", f"{SHOTS} shots of {train.title}"
        row = {"name": name, "tuned_on": on, "view_weights": [], **self._figures(adapter, test)}
        return row | {"settings": adapter.settings}

    def _figures(self, classifier: Any, vectors: Embedding) -> dict[str, Any]:
        return figures_of([to_array(classifier.logits(vectors))], self.targets, self.names, self.seed)[0]


def benchmark_of(data: LabelledData, system: str, path: Path) -> str:
    """The data set's name in ``SYSTEMS``.

    Raises:
        InputError: two values of one column at once, or data for which the paper has no figure.
    """
    for column, values in data.subsets.items():
        if len(values) > 1:
            raise InputError(f"holds {' and '.join(values)}", where=path, remedy=f"add --where {column}={values[-1]}")
    found = _benchmark(data.facts, data.classes, data.subsets.get("variant", ()))
    if found is None:
        raise InputError(
            f"{SYSTEMS[system].paper} has no figure for these classes",
            where=path,
            remedy="it has for ModelNet10, ModelNet40, ScanObjectNN",
        )
    return found


def compared(facts: Mapping[str, Any], benchmark: str, n: int) -> str:
    """Whether this is the data that the papers measured on, as far as its shape and counts show."""
    if "published" in facts:
        return str(facts["published"])
    if benchmark == "ModelNet10" and n != MODELNET10_TEST:
        return f"differs: {n} shapes, the official test split has {MODELNET10_TEST}"
    return "by the number of shapes"


def _benchmark(facts: Mapping[str, Any], classes: Any, variants: Any) -> str | None:
    """The data set's name in ``SYSTEMS``."""
    if "benchmark" in facts:
        return " ".join([facts["benchmark"], *variants])
    spoken = " ".join(sorted(name.replace("_", " ") for name in classes))
    return "ModelNet10" if spoken == MODELNET10 else None


def _published_weights(space: str, benchmark: str) -> str | None:
    tower = TOWERS.get(space.partition("/")[0].removesuffix("-quickgelu"))
    data = benchmark.split()[0].lower()
    return f"{tower}_{data}" if tower and data in ("modelnet40", "scanobjectnn") else None
