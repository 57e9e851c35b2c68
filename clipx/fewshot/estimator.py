"""Few-shot classifiers as scikit-learn estimators: arrays in, labels and probabilities out.

>>> estimator = FewShotEstimator("gda").fit(X, y)                                              # doctest: +SKIP
>>> cross_val_score(FewShotEstimator("probe"), X, y)                                           # doctest: +SKIP
>>> FewShotEstimator.of(load_classifier("birds.safetensors")).predict(X)                       # doctest: +SKIP

Needs scikit-learn, the extra ``sklearn``.
"""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from clipx._arrays import unit_rows
from clipx.embedding import Embedding
from clipx.errors import InputError, MissingDependencyError
from clipx.fewshot.base import FewShotClassifier, Shots
from clipx.fewshot.methods import method_named

try:
    from sklearn.base import BaseEstimator, ClassifierMixin
    from sklearn.utils.multiclass import check_classification_targets
    from sklearn.utils.validation import check_is_fitted, validate_data
except ImportError as error:
    raise MissingDependencyError(
        "an estimator needs scikit-learn", remedy="pip install 'clipx-modalities[sklearn]'"
    ) from error

VECTORS = "vectors"  # the space and modality of arrays that say nothing of where they come from


class FewShotEstimator(ClassifierMixin, BaseEstimator):
    """A method of ``METHODS`` on arrays of vectors, or a classifier that was fitted before.

    Rows are scaled to unit norm, as embeddings are. Learning from arrays, words play no part: the methods are
    ``gda``, ``prototype`` and ``probe``. What was fitted with words keeps them, see ``of``.

    Args:
        method: a key of ``METHODS`` that needs no words.
        seed: of folds and training.

    Attributes:
        classes_: (K,) the classes, sorted.
        n_features_in_: D.
        classifier_: the ``FewShotClassifier``; its labels are the classes as text.
    """

    def __init__(self, method: str = "gda", seed: int = 0):
        self.method = method
        self.seed = seed

    @classmethod
    def of(cls, classifier: FewShotClassifier) -> Self:
        """A fitted estimator that answers as the classifier does; its classes are the classifier's labels.

        Raises:
            InputError: a classifier of several views a sample, whose samples are no single rows.
        """
        if classifier.views != 1:
            raise InputError(f"a sample is {classifier.views} views here, and one row for an estimator")
        estimator = cls(classifier.settings.get("method", classifier.kind))
        estimator.classifier_ = classifier
        estimator.classes_ = np.array(classifier.labels)
        estimator.n_features_in_ = classifier._dim
        return estimator

    def fit(self, X: Any, y: Any) -> Self:
        """Learn from (N, D) vectors and their N classes; at least two classes."""
        X, y = validate_data(self, X, y, dtype=np.float64)
        check_classification_targets(y)
        if X.shape[1] < 2:
            raise ValueError("n_features = 1: unit vectors need at least two")
        self.classes_, targets = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(f"a classifier needs at least two classes, got one class: {self.classes_[0]}")
        method = method_named(self.method)
        if method.classifier.uses_words or method.classifier.uses_tower:
            raise ValueError(f"method {self.method!r} needs words; fit it with clipx.fewshot.fit, and use of()")
        names = tuple(str(label) for label in self.classes_.tolist())
        shots = Shots(_embedding(X), targets.tolist(), names, seed=self.seed)
        self.classifier_ = method.fit(shots)
        return self

    def decision_function(self, X: Any) -> np.ndarray:
        """Logits, (N, K); of two classes the difference of theirs, (N,)."""
        logits = self._logits(X)
        return logits[:, 1] - logits[:, 0] if len(self.classes_) == 2 else logits

    def predict_proba(self, X: Any) -> np.ndarray:
        """Softmax of the logits, (N, K)."""
        logits = self._logits(X)
        shares = np.exp(logits - logits.max(axis=1, keepdims=True))
        return shares / shares.sum(axis=1, keepdims=True)

    def predict(self, X: Any) -> np.ndarray:
        """The class of each row, (N,)."""
        best = self._logits(X).argmax(axis=1)
        return self.classes_[best]

    def _logits(self, X: Any) -> np.ndarray:
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, reset=False)
        rows = Embedding(_unit(X), self.classifier_.space_id, VECTORS)
        return self.classifier_.logits(rows).double().numpy()


def _embedding(X: np.ndarray) -> Embedding:
    return Embedding(_unit(X), VECTORS, VECTORS)


def _unit(X: np.ndarray) -> np.ndarray:
    """float32 unit rows; a row of zeros, which has no direction, becomes the first axis."""
    X = np.where((X == 0).all(axis=1, keepdims=True), np.eye(1, X.shape[1]), X)
    return unit_rows(X / np.abs(X).max(axis=1, keepdims=True))
