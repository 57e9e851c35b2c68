"""Few-shot classification: a few labelled embeddings of any modality become a classifier.

``fit`` makes one by the name of a method, of which ``METHODS`` has the list. Each answers as a ``ZeroShotClassifier``
does, by ``labels``, ``logits`` and ``predict``, and is saved as one .safetensors file. ``fit_shots`` is the protocol of
few-shot figures, ``clipx.fewshot.estimator`` the way into scikit-learn.

Where a sample has V views, each of them can use the view vectors instead of their mean, which discards information:
an embedding then holds N * V rows, sample by sample and the views in one order, for N targets and N answers. Of
(N, V, D) vectors that is ``Embedding(vectors.reshape(-1, space.dim), space.id, "pointcloud")``.

>>> classifier = fit(photos, ["robin", "crow", ...], "gda", space=space)                    # doctest: +SKIP
>>> classifier.predict(others, top_k=1)[0][0].label                                        # doctest: +SKIP
'robin'
>>> classifier.save("birds.safetensors")                                                   # doctest: +SKIP
"""

from __future__ import annotations

from os import PathLike

from clipx.errors import FileError
from clipx.fewshot.adapter import AdapterConfig, AdapterNetwork, InterViewAdapter, smoothed_cross_entropy
from clipx.fewshot.ape import APE
from clipx.fewshot.ape_t import APETrained
from clipx.fewshot.base import FewShotClassifier, Shots, checked_facts, finite
from clipx.fewshot.cache import CacheModel
from clipx.fewshot.clap import CLAP
from clipx.fewshot.cocoop import CoCoOp, CoCoOpConfig, MetaNet
from clipx.fewshot.coop import CoOp, CoOpConfig
from clipx.fewshot.draws import few_shot_draw
from clipx.fewshot.entropy import EntropyPrompts
from clipx.fewshot.gda import GaussianDiscriminant
from clipx.fewshot.methods import CLASSIFIERS, METHODS, Method, cross_validated, fit, fit_shots, method_named
from clipx.fewshot.probe import LinearProbe
from clipx.fewshot.prolip import ProLIP
from clipx.fewshot.prototype import Prototype
from clipx.fewshot.tip_adapter_f import TipAdapterF
from clipx.fewshot.view_search import ViewSearch
from clipx.files import MODEL_SUFFIX, parse_tensors, read_bytes

__all__ = [
    "APE",
    "CLAP",
    "METHODS",
    "APETrained",
    "AdapterConfig",
    "AdapterNetwork",
    "CacheModel",
    "CoCoOp",
    "CoCoOpConfig",
    "CoOp",
    "CoOpConfig",
    "EntropyPrompts",
    "FewShotClassifier",
    "GaussianDiscriminant",
    "InterViewAdapter",
    "LinearProbe",
    "MetaNet",
    "Method",
    "ProLIP",
    "Prototype",
    "Shots",
    "TipAdapterF",
    "ViewSearch",
    "cross_validated",
    "few_shot_draw",
    "fit",
    "fit_shots",
    "load_classifier",
    "method_named",
    "smoothed_cross_entropy",
]


def load_classifier(path: str | PathLike) -> FewShotClassifier:
    """Read what ``save`` wrote. Nothing in the file is run.

    Raises:
        FileError: missing, unreadable, or not such a file.
    """
    data = read_bytes(path, (MODEL_SUFFIX,), max_bytes=4 * 2**30)
    try:
        tensors, about = parse_tensors(data, "clipx")
        return CLASSIFIERS[about["kind"]]._restore(finite(tensors), checked_facts(about))
    except Exception as error:  # whatever safetensors, json or torch trip over in a damaged or foreign file
        raise FileError(
            f"is no few-shot classifier ({error.__class__.__name__}: {error})",
            where=path,
            remedy="fit it again",
        ) from error
