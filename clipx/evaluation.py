"""Classification figures of labelled data in a space: by words alone, and by classifiers that learn from shots."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, cast

from clipx.errors import InputError, UnsupportedError

if TYPE_CHECKING:
    import numpy as np

    from clipx.datasets import LabelledData
    from clipx.embedding import Embedding
    from clipx.fewshot import FewShotClassifier
    from clipx.modality import Modality
    from clipx.pipeline import Item
    from clipx.prompts import Prompts
    from clipx.space import JointSpace
    from clipx.zeroshot import ZeroShotClassifier

ZERO_SHOT = "zero_shot"
SHUFFLED = "shuffled labels"
SAME, HALF_SAME = 1e-5, 2e-3
"""Distance of two unit vectors below which they are those of one input, in float32 and in 16 bits."""


@dataclass(frozen=True)
class Shots:
    """What few-shot classifiers learn from.

    Args:
        data: M samples.
        targets: (M,) int, their classes.
        counts: how many shots of each class, a row of results for each number.
        draws: how often they are drawn.
        short: take all the samples of a class that has fewer than wanted.
        shuffled: beside each row, a control that learns from the same shots with their labels exchanged.
    """

    data: LabelledData
    targets: Any
    counts: Sequence[int]
    draws: int
    short: bool = False
    shuffled: bool = False


@dataclass(frozen=True)
class Methods:
    """Which classifiers are measured.

    Args:
        names: ``"zero_shot"``, or keys of ``clipx.fewshot.METHODS``.
        optional: leave out, with the reason, those that the space or the modality does not allow.
    """

    names: Sequence[str]
    optional: bool = False


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

    Attributes:
        left_out: method -> why it is not measured, of ``Methods.optional``.
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
    left_out: dict[str, str] = field(default_factory=dict)
    _vectors_of: dict[str, Embedding] = field(default_factory=dict)

    def rows(
        self, settings: Mapping[str, Any], name: str | None, prompts: Prompts | None, methods: Methods
    ) -> Iterator[tuple[dict[str, Any], Any]]:
        """A row of results, and its (K, K) table of what is taken for what, for each method and number of shots.

        Args:
            settings: of the modality's ``Config``.
            name: what the row calls the prompts; None for the modality's own.
            prompts: the prompts; None for the modality's own.
            methods: the classifiers.
        """
        encoder, about = self._encoder(settings, name, prompts)
        classifier = self.classifier(self.space, self.names, about.pop("templates"))
        about["dropped_prompts"] = list(classifier.dropped_prompts)
        self._require_distinct(encoder, methods)
        for method in methods.names:
            if method == ZERO_SHOT:
                figures, table = self._zero_shot(encoder, classifier)
                yield {"method": method, **about, **figures}, table
                continue
            try:
                for count, shuffled in self._asked():
                    found, table = self._few_shot(method, count, shuffled, encoder, classifier)
                    yield {"method": method, **about, **found}, table
            except (InputError, UnsupportedError) as error:
                self._leave_out(method, methods, error)

    def base_new_rows(
        self, settings: Mapping[str, Any], name: str | None, prompts: Prompts | None, methods: Methods
    ) -> Iterator[dict[str, Any]]:
        """CoOp's base-to-new protocol: learn from shots of the first half of the classes, name both halves.

        Each half is tested among its own classes, and ``harmonic_mean`` is that of the two accuracies. Zhou et al.,
        "Conditional Prompt Learning for Vision-Language Models", CVPR 2022, arXiv 2203.05557, section 4.1.

        Args:
            settings, name, prompts, methods: see ``rows``. A method that cannot name classes without shots raises
                UnsupportedError, or is left out.
        """
        import numpy as np

        from clipx.modality import bound

        encoder, about = self._encoder(settings, name, prompts)
        templates, cut = about.pop("templates"), (len(self.names) + 1) // 2
        halves = [np.flatnonzero(self.targets < cut), np.flatnonzero(self.targets >= cut)]
        base, new = (self.classifier(self.space, own, templates) for own in (self.names[:cut], self.names[cut:]))
        if not all(len(half) for half in halves) or len(self.names) < 4:  # of one class everything is right
            what = f"base and new need two classes each and samples of both, got {len(self.names)} classes"
            raise InputError(what, where="--base-new", remedy="give more classes")
        about["dropped_prompts"] = list(base.dropped_prompts)
        self._require_distinct(encoder, methods)
        for method in methods.names:
            if method == ZERO_SHOT:
                whole = self._vectors(bound(encoder, base), self.data)
                logits = [[one.logits(whole[half.tolist()])] for one, half in zip((base, new), halves, strict=True)]
                yield {"method": method, **about, **self._halves(logits, halves, cut)}
                continue
            try:
                for count, shuffled in self._asked():
                    found = self._few_shot_halves(method, count, shuffled, encoder, (base, new), halves)
                    yield {"method": method, **about, **found}
            except (InputError, UnsupportedError) as error:
                self._leave_out(method, methods, error)

    def _encoder(
        self, settings: Mapping[str, Any], name: str | None, prompts: Prompts | None
    ) -> tuple[Modality, dict[str, Any]]:
        from clipx.api import make_modality

        encoder = make_modality(self.modality, self.space, settings)
        return encoder, {
            "prompts": name or encoder.prompts,
            "config": asdict(encoder.config),
            "tuned_on": encoder.tuned_on,
            "templates": encoder.prompts if prompts is None else prompts,
        }

    def _require_distinct(self, encoder: Modality, methods: Methods) -> None:
        """Raise InputError where a sample to test on is among those that a method learns from."""
        if self.shots is not None and set(methods.names) != {ZERO_SHOT}:
            test, train = (self._views(encoder, data) for data in (self.data, self.shots.data))
            half = self.space.backend.dtype != "float32"
            require_distinct(test, train, [item.id for item in self.data.items], HALF_SAME if half else SAME)

    def _asked(self) -> Iterator[tuple[int, bool]]:
        shots = cast(Shots, self.shots)
        for count in shots.counts:
            yield from ((count, shuffled) for shuffled in (False, True)[: 1 + shots.shuffled])

    def _leave_out(self, method: str, methods: Methods, error: InputError | UnsupportedError) -> None:
        if not methods.optional:
            raise error
        self.left_out[method] = str(error)

    def _zero_shot(self, encoder: Modality, classifier: ZeroShotClassifier) -> tuple[dict[str, Any], Any]:
        from clipx.figures import figures_of
        from clipx.modality import bound

        embedding = self._vectors(bound(encoder, classifier), self.data)
        return figures_of([classifier.logits(embedding)], self.targets, self.names, self.seed, self.data.folds)

    def _few_shot(
        self, method: str, count: int, shuffled: bool, encoder: Modality, classifier: ZeroShotClassifier
    ) -> tuple[dict[str, Any], Any]:
        """The figures of one method at one number of shots, over all draws."""
        from clipx.figures import best_labels, figures_of

        test, logits = self._views(encoder, self.data), list[Any]()
        draws: list[dict[str, Any]] = []
        for fitted in self._fitted(method, count, shuffled, encoder, classifier):
            logits.append(fitted.logits(test).numpy())
            right = float((best_labels(logits[-1])[:, 0] == self.targets).mean())
            draws.append({"seed": self.seed + len(draws), "acc1": right, "settings": fitted.settings})
        figures, table = figures_of(logits, self.targets, self.names, self.seed, self.data.folds)
        return self._learned(method, count, shuffled, draws) | figures, table

    def _few_shot_halves(
        self,
        method: str,
        count: int,
        shuffled: bool,
        encoder: Modality,
        classifiers: tuple[ZeroShotClassifier, ZeroShotClassifier],
        halves: Sequence[Any],
    ) -> dict[str, Any]:
        from clipx.fewshot import method_named

        if not method_named(method).names_others:  # known before it is trained
            raise UnsupportedError(f"{method} learns its own classes only, and knows nothing of others")
        base, new = classifiers
        test, cut = self._views(encoder, self.data), len(base.labels)
        draws: list[dict[str, Any]] = []
        views = len(test) // len(self.data.items)
        parts = [test[[views * i + v for i in half.tolist() for v in range(views)]] for half in halves]
        logits: list[list[np.ndarray]] = [[], []]
        for fitted in self._fitted(method, count, shuffled, encoder, base):
            both = fitted, fitted.for_classes(new)
            found = [one.logits(part).numpy() for one, part in zip(both, parts, strict=True)]
            for own, one in zip(logits, found, strict=True):
                own.append(one)
            figures = self._halves([[one] for one in found], halves, cut)["metrics"]
            draws.append({"seed": self.seed + len(draws), **figures, "settings": fitted.settings})
        return self._learned(method, count, shuffled, draws) | self._halves(logits, halves, cut)

    def _halves(self, logits: Sequence[Sequence[np.ndarray]], halves: Sequence[Any], cut: int) -> dict[str, Any]:
        """Figures of base and new classes; the harmonic mean is that of their mean accuracies."""
        from clipx.figures import figures_of

        names = self.names[:cut], self.names[cut:]
        targets = self.targets[halves[0]], self.targets[halves[1]] - cut
        base, new = (
            figures_of(own, truth, some, self.seed)[0] for own, truth, some in zip(logits, targets, names, strict=True)
        )
        b, n = base["metrics"]["acc1"], new["metrics"]["acc1"]
        return {
            "metrics": {"base_acc1": b, "new_acc1": n, "harmonic_mean": 2 * b * n / (b + n) if b + n else 0.0},
            "ci95": {"base_acc1": base["ci95"]["acc1"], "new_acc1": new["ci95"]["acc1"]},
        }

    def _fitted(
        self, method: str, count: int, shuffled: bool, encoder: Modality, classifier: ZeroShotClassifier
    ) -> Iterator[FewShotClassifier]:
        """A classifier of each draw of the shots of the classes of ``classifier``."""
        from clipx.fewshot import fit_shots, method_named
        from clipx.progress import progress

        shots, k = cast(Shots, self.shots), len(classifier.labels)
        train = self._views(encoder, shots.data)
        views = len(train) // len(shots.data.items)
        if method_named(method).views and views == 1:
            raise UnsupportedError(f"{method} weighs the views of a sample, and here a sample has one")
        rows = [i for i, target in enumerate(shots.targets.tolist()) if target < k]
        some = train[[views * i + v for i in rows for v in range(views)]]
        targets = [int(shots.targets[i]) for i in rows]
        with progress(f"learning from {count} shots ({method})", shots.draws) as advance:
            for seed in range(self.seed, self.seed + shots.draws):
                about = count, seed, views, shots.data.title, encoder.space, shots.short, shuffled
                yield fit_shots(method, some, targets, classifier, *about)
                advance(1)

    def _learned(self, method: str, count: int, shuffled: bool, draws: list[dict[str, Any]]) -> dict[str, Any]:
        from clipx.fewshot import method_named

        control = SHUFFLED if shuffled else method_named(method).control
        about = {"shots": count, "draws": draws, "tuned_on": draws[0]["settings"]["split"]}
        return about | ({"control": control} if control else {})

    def _views(self, encoder: Modality, data: LabelledData) -> Embedding:
        return self._vectors(encoder, data, separate=True)

    def _vectors(self, encoder: Modality, data: LabelledData, separate: bool = False) -> Embedding:
        key = repr((encoder.config, encoder.context, data is self.data, separate))
        if key not in self._vectors_of:
            self._vectors_of[key] = self.encode(encoder, data.items, separate)
        return self._vectors_of[key]


def require_shots(known: Any, names: Sequence[str], shots: int) -> None:
    """Raise InputError where a class has fewer samples to learn from than that."""
    import numpy as np

    counts = np.bincount(known, minlength=len(names))
    if short := [f"{name} {count}" for name, count in zip(names, counts, strict=True) if count < shots]:
        raise InputError(
            f"too few samples for {shots} shots a class: {', '.join(short)}",
            where="--train",
            remedy="take fewer shots, or all that such a class has with --short, or leave it out with --labels",
        )


def require_disjoint(
    test: LabelledData, train: LabelledData, where: str = "--train", remedy: str = "see --train-where"
) -> None:
    """Raise InputError where a sample is in both; ``where`` and ``remedy`` name the flags that chose them."""
    if shared := len(set(test.samples) & set(train.samples)):
        raise InputError(f"{shared} samples to learn from are among those to test on", where=where, remedy=remedy)


def note_shared(test: LabelledData, shown: Sequence[Item]) -> int:
    """How many samples to test on are among those that are learned from without labels; it is said on stderr."""
    from clipx.datasets import LabelledData
    from clipx.progress import note

    if shared := len(set(test.samples) & set(LabelledData("", shown, [], []).samples)):
        note(f"{shared} of {len(test.items)} samples to test on are among those to learn from (without their labels)")
    return shared


def require_distinct(test: Embedding, train: Embedding, ids: Sequence[str], same: float = SAME) -> None:
    """Raise InputError where the vectors to learn from are those of a sample to test on: the same thing in two files.

    Vectors of one input differ by rounding where it is encoded in another batch, by less than ``same``.

    Args:
        test: N samples, a row for each of their V views.
        train: samples of as many views each.
        ids: N names of the samples to test on.
        same: distance below which two vectors are those of one input.
    """
    import numpy as np

    views, copies = len(test) // len(ids), list[str]()
    known = train.vectors.reshape(len(train) // views, -1)
    for start in range(0, len(ids), 1024):  # (1024, M) products at a time
        rows = test.vectors[start * views : (start + 1024) * views].reshape(-1, known.shape[1])
        near = rows @ known.T > views * (1 - 1e-3)  # a rounded product is no measure of so small a distance
        for i in np.flatnonzero(near.any(axis=1)).tolist():
            if np.linalg.norm(known[near[i]] - rows[i], axis=1).min() < same:
                copies.append(ids[start + i])
    if copies:
        raise InputError(
            f"{len(copies)} samples to test on have the vectors of samples to learn from, such as {copies[0]}",
            where="--train",
            remedy="leave the copies out with --where or --train-where",
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


def by_words(
    vectors: Embedding, space: JointSpace, labels: Sequence[str], names: Sequence[str], prompts: Prompts
) -> dict[str, Any]:
    """Top-1 of N samples named by words alone: ``n``, ``acc1`` in [0, 1] and ``ci95``, a bootstrap over the samples.

    Args:
        vectors: N rows.
        space: whose words name them.
        labels: N classes, each among the names.
        names: the candidates.
        prompts: the sentences for a name, see ``ZeroShotClassifier``.

    Raises:
        InputError: see ``targets_of``; or words that the space does not know.
    """
    from clipx.metrics import bootstrap_ci95
    from clipx.zeroshot import ZeroShotClassifier

    known, targets = targets_of(labels, names)
    right = ZeroShotClassifier(space, known, prompts).logits(vectors).argmax(1) == targets
    return {"n": len(right), "acc1": float(right.mean()), "ci95": bootstrap_ci95(right)}
