"""Classification figures of labelled data in a space: by words alone, and by classifiers that learn from shots."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, cast

from clipx.errors import InputError

if TYPE_CHECKING:
    import numpy as np

    from clipx.datasets import LabelledData
    from clipx.embedding import Embedding
    from clipx.modality import Modality
    from clipx.pipeline import Item
    from clipx.prompts import Prompts
    from clipx.space import JointSpace
    from clipx.zeroshot import ZeroShotClassifier

ZERO_SHOT = "zero_shot"


@dataclass(frozen=True)
class Shots:
    """M samples that few-shot classifiers learn from, their classes, how many of each class, and how many draws."""

    data: LabelledData
    targets: Any
    count: int
    draws: int


@dataclass
class Evaluation:
    """Labelled data in a space, measured as often as it is asked to; vectors are computed once for each config.

    Args:
        modality: name of the modality that reads the data.
        space: where it is measured.
        data: what is measured, N samples.
        names: of the K candidate classes.
        targets: (N,) int, the class of each sample.
        shots: what few-shot classifiers learn from; None without them.
        seed: of the first draw of shots, and of the bootstraps.
        encode: (modality, items, separate) -> their vectors, a row for each view if ``separate``.
        classifier: (space, names, prompts) -> the classifier by words.
    """

    modality: str
    space: JointSpace
    data: LabelledData
    names: Sequence[str]
    targets: Any
    shots: Shots | None
    seed: int
    encode: Callable[[Modality, Sequence[Item], bool], Embedding]
    classifier: Callable[[JointSpace, Sequence[str], Prompts], ZeroShotClassifier]
    _vectors_of: dict[str, Embedding] = field(default_factory=dict)

    def rows(
        self, settings: Mapping[str, Any], name: str | None, prompts: Prompts | None, methods: Sequence[str]
    ) -> Iterator[tuple[dict[str, Any], Any]]:
        """A row of results, and its (K, K) table of what is taken for what, for each method.

        Args:
            settings: of the modality's ``Config``.
            name: what the row calls the prompts; None for the modality's own.
            prompts: the prompts; None for the modality's own.
            methods: ``"zero_shot"``, or those of ``clipx.fewshot``.
        """
        from clipx.api import make_modality
        from clipx.modality import bound

        encoder = make_modality(self.modality, self.space, settings)
        classifier = self.classifier(self.space, self.names, encoder.prompts if prompts is None else prompts)
        about = {
            "prompts": name or encoder.prompts,
            "dropped_prompts": list(classifier.dropped_prompts),
            "config": asdict(encoder.config),
            "tuned_on": encoder.tuned_on,
        }
        for method in methods:
            row: dict[str, Any] = {"method": method, **about}
            if method == ZERO_SHOT:
                embedding = self._vectors(bound(encoder, classifier), self.data)
                logits = [classifier.logits(embedding)]
            else:
                logits, row["draws"] = self._few_shot(method, encoder, classifier)
                row["shots"] = self.shots.count if self.shots else 0
                row["tuned_on"] = row["draws"][0]["settings"]["split"]
            figures, table = figures_of(logits, self.targets, self.names, self.seed, self.data.folds)
            yield row | figures, table

    def _few_shot(
        self, method: str, encoder: Modality, classifier: ZeroShotClassifier
    ) -> tuple[list[np.ndarray], list[dict[str, Any]]]:
        """Logits (N, K), and how the classifier came about, for each draw of the shots."""
        from clipx.fewshot import fit_shots
        from clipx.progress import progress

        shots = cast(Shots, self.shots)
        test, train = (self._vectors(encoder, data, separate=True) for data in (self.data, shots.data))
        views = len(test) // len(self.data.items)
        targets, logits, draws = shots.targets.tolist(), [], []
        with progress(f"learning from {shots.count} shots ({method})", shots.draws) as advance:
            for seed in range(self.seed, self.seed + shots.draws):
                about = shots.count, seed, views, shots.data.title
                fitted = fit_shots(method, train, targets, classifier, *about, space=encoder.space)
                logits.append(fitted.logits(test).numpy())
                right = float((best_labels(logits[-1])[:, 0] == self.targets).mean())
                draws.append({"seed": seed, "acc1": right, "settings": fitted.settings})
                advance(1)
        return logits, draws

    def _vectors(self, encoder: Modality, data: LabelledData, separate: bool = False) -> Embedding:
        key = repr((encoder.config, encoder.context, data is self.data, separate))
        if key not in self._vectors_of:
            self._vectors_of[key] = self.encode(encoder, data.items, separate)
        return self._vectors_of[key]


def figures_of(
    logits: Sequence[np.ndarray], targets: Any, names: Sequence[str], seed: int, folds: Sequence[str] = ()
) -> tuple[dict[str, Any], Any]:
    """Means over draws: figures, intervals, classes, and top-1 of each fold where the samples have one.

    Args:
        logits: of each draw, (N, K).
        targets: (N,) int, the class of each sample.
        names: of the K classes.
        seed: of the bootstrap.
        folds: the fold of each sample, or nothing.

    Returns:
        The figures, and the (K, K) counts of all draws: rows are classes, columns what they were taken for.
    """
    import numpy as np

    from clipx import metrics

    each = [metrics.classification(own, targets) for own in logits]
    figures = {name: float(np.mean([own[name] for own in each])) for name in each[0]}
    best = [best_labels(own) for own in logits]
    hits = np.mean([own == targets[:, None] for own in best], axis=0)  # (N, 5)
    intervals = {
        name: list(metrics.bootstrap_ci95(hits[:, :k].sum(axis=1), seed))
        for name, k in (("acc1", 1), ("acc5", 5))
        if figures[name] == figures[name]  # acc5 is NaN under five classes
    }
    table = np.sum([metrics.confusion(own[:, 0], targets, len(names)) for own in best], axis=0)
    classes = _classes(table, names, len(logits))
    of_folds = {one: float(hits[np.asarray(folds) == one, 0].mean()) for one in sorted(set(folds) - {""}, key=_natural)}
    found = {"metrics": figures, "ci95": intervals, "classes": classes}
    return found | ({"folds": of_folds} if len(of_folds) > 1 else {}), table


def _classes(table: Any, names: Sequence[str], draws: int) -> list[dict[str, Any]]:
    """The recall of each class that has samples, and the class that it is most often taken for."""
    import numpy as np

    from clipx import metrics

    recall, found = metrics.per_class_accuracy(table), []
    for k, name in enumerate(names):
        if not (total := int(table[k].sum())):
            continue
        wrong = np.where(np.arange(len(names)) == k, 0, table[k])
        taken = int(wrong.argmax()) if wrong.any() else None
        found.append(
            {
                "label": name,
                "n": total // draws,
                "recall": float(recall[k]),
                "taken_for": None if taken is None else names[taken],
                "taken": 0.0 if taken is None else float(wrong[taken] / total),
            }
        )
    return found


def _natural(name: str) -> tuple[int, str]:
    return (int(name) if name.isdecimal() else 10**9), name


def require_shots(known: Any, names: Sequence[str], shots: int) -> None:
    """Raise InputError where a class has too few samples to learn from."""
    import numpy as np

    counts = np.bincount(known, minlength=len(names))
    if short := [f"{name} {count}" for name, count in zip(names, counts, strict=True) if count < shots]:
        raise InputError(
            f"too few samples for {shots} shots a class: {', '.join(short)}",
            where="--train",
            remedy="take fewer shots, or leave these classes out with --labels",
        )


def require_disjoint(test: LabelledData, train: LabelledData) -> None:
    """Raise InputError where a sample is in both."""
    if shared := len(set(test.samples) & set(train.samples)):
        raise InputError(
            f"{shared} samples to learn from are among those to test on", where="--train", remedy="see --train-where"
        )


def targets_of(labels: Any, names: Any) -> tuple[list[str], Any]:
    """The candidates, and the index of each sample's class among them; ``_`` and case make no difference.

    Raises:
        InputError: samples whose class is no candidate, all such classes in one line.
    """
    import numpy as np

    from clipx.prompts import spoken

    index = {spoken(name).casefold(): k for k, name in enumerate(names)}
    found = [index.get(spoken(label).casefold(), -1) for label in labels]
    unknown = sorted({label for label, k in zip(labels, found, strict=True) if k < 0})
    if unknown:
        raise InputError(
            f"the data has classes that are not among the labels: {', '.join(unknown)}",
            where="--labels",
            remedy="add them, or leave their rows out with --where",
        )
    return list(names), np.array(found)


def best_labels(logits: np.ndarray) -> np.ndarray:
    """(N, 5) the best labels, best first. At equal scores the earlier label is the better."""
    return (-logits).argsort(axis=1, stable=True)[:, :5]
