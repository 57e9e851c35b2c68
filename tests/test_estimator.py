"""Few-shot classifiers as scikit-learn estimators."""

import numpy as np
import pytest
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer
from sklearn.utils.estimator_checks import parametrize_with_checks

from clipx.embedding import Embedding
from clipx.errors import InputError
from clipx.fewshot import fit, load_classifier
from clipx.fewshot.estimator import FewShotEstimator

NOT_THESE = {  # of scikit-learn's checks, and why they do not apply to unit vectors in float32
    "check_methods_subset_invariance": "float32 products of other batches differ in the seventh digit",
    "check_methods_sample_order_invariance": "float32 products of other batches differ in the seventh digit",
}


@parametrize_with_checks(
    [FewShotEstimator("gda"), FewShotEstimator("prototype")], expected_failed_checks=lambda estimator: NOT_THESE
)
def test_scikit_learn_finds_nothing_amiss(estimator, check):
    check(estimator)


@pytest.mark.slow
@parametrize_with_checks([FewShotEstimator("probe")], expected_failed_checks=lambda estimator: NOT_THESE)
def test_nor_in_the_probe(estimator, check):
    check(estimator)


def blobs(seed: int, count: int = 60) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = np.array(["crow", "jay", "robin"])[np.arange(count) % 3]
    X = np.eye(3, 16)[np.arange(count) % 3] + 0.25 * rng.normal(size=(count, 16))
    return X / np.linalg.norm(X, axis=1, keepdims=True), y


@pytest.mark.parametrize("method", ["gda", "prototype", "probe"])
def test_it_answers_as_the_classifier_that_it_wraps(method, tmp_path):
    (X, y), (Z, truth) = blobs(0), blobs(1)
    estimator = FewShotEstimator(method).fit(X, y)
    assert estimator.score(Z, truth) > 0.9 and estimator.classes_.tolist() == ["crow", "jay", "robin"]
    np.testing.assert_allclose(estimator.predict_proba(Z).sum(axis=1), 1)
    classifier = fit(Embedding(X.astype(np.float32), "toy", "image"), y.tolist(), method)
    held = Embedding(Z.astype(np.float32), "toy", "image")
    wrapped = estimator.classifier_.logits(Embedding(held.vectors, estimator.classifier_.space_id, "image"))
    np.testing.assert_allclose(estimator.decision_function(Z), wrapped.numpy(), atol=2e-4)
    saved = FewShotEstimator.of(load_classifier(classifier.save(tmp_path / "birds.safetensors")))
    assert saved.score(Z, truth) > 0.9
    by_name = [row[0].label for row in classifier.predict(held, top_k=1)]
    assert saved.predict(Z).tolist() == by_name


def test_it_fits_into_scikit_learn_s_tools():
    X, y = blobs(0)
    assert cross_val_score(FewShotEstimator("prototype"), X, y, cv=3).mean() > 0.9
    assert make_pipeline(Normalizer(), FewShotEstimator()).fit(10 * X, y).score(X, y) > 0.9
    search = GridSearchCV(FewShotEstimator(), {"method": ["gda", "prototype"]}, cv=3).fit(X, y)
    assert search.best_params_["method"] in ("gda", "prototype")


def test_what_an_array_cannot_give_is_refused():
    X, y = blobs(0)
    with pytest.raises(ValueError, match="needs words"):
        FewShotEstimator("cache").fit(X, y)
    with pytest.raises(ValueError, match="unknown few-shot method"):
        FewShotEstimator("magic").fit(X, y)
    with pytest.raises(ValueError, match="at least two classes"):
        FewShotEstimator().fit(X, ["crow"] * len(X))
    several = fit(Embedding(X.astype(np.float32), "toy", "image"), y[::2].tolist(), "probe", views=2)
    with pytest.raises(InputError, match="2 views"):
        FewShotEstimator.of(several)
