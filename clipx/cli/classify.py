"""clipx classify: files -> words."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clipx.cli._options import RunOptions, takes
from clipx.errors import InputError

if TYPE_CHECKING:
    from clipx.cli._work import Files
    from clipx.fewshot import FewShotClassifier
    from clipx.modality import Modality
    from clipx.space import JointSpace
    from clipx.zeroshot import Prediction, ZeroShotClassifier

    Group = tuple[Modality, list[int], ZeroShotClassifier | FewShotClassifier]
    """A modality, the positions of the files that it reads, and what names them."""
    Groups = Callable[[JointSpace], list[Group]]


@takes("modality", "prompts", "space", "device", "dtype", "backend", "batch_size", "seed", "out", "as_json", "config")
def classify(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH", help="Photos, clouds, sounds, ..., folders of them.")],
    labels: Annotated[
        str | None,
        typer.Option("--labels", help="The words to choose from: a,b,c or @file, one a line.", show_default=False),
    ] = None,
    classifier: Annotated[
        Path | None,
        typer.Option(
            "--classifier",
            help="Instead of words, a file of clipx train classifier, which knows its classes, space and modality.",
            show_default=False,
        ),
    ] = None,
    top: Annotated[
        int | None,
        typer.Option(
            "--top",
            help="How many labels to name for each file. Default: 5, of a classifier 1.",
            min=1,
            show_default=False,
        ),
    ] = None,
    none_threshold: Annotated[
        float | None,
        typer.Option("--none-threshold", help="A raw cosine: where no label reaches it, the answer is 'none'."),
    ] = None,
    *,
    run: RunOptions,
    **settings: Any,
) -> None:
    """Name what is in each file by one of the words you give, or by a classifier that learned from samples.

    The raw cosine says how well a word fits; the probability says which of
    these words fits best, and sums to 100 % even where none is right. A file that
    cannot be read is named at the end, and the exit status is then 2.

    Example: clipx classify chair.ply photo.jpg --labels chair,table,airplane

    Example: clipx classify garden/ --classifier birds.safetensors
    """
    from clipx.api import learned_from, own_space
    from clipx.cli._flags import settings_of
    from clipx.cli._output import report
    from clipx.cli._work import encode, files_in
    from clipx.pipeline import file_items

    run.check_writable()
    if (labels is None) == (classifier is None):
        raise InputError("takes words or a classifier", where="classify", remedy="give --labels or --classifier")
    fitted = None if classifier is None else _read(classifier, run, none_threshold)
    top = top or (5 if fitted is None else 1)
    if fitted is None:
        given, space = files_in(paths, run.modality), run.space
        groups = _by_words(given, labels or "", none_threshold, run, settings)
    else:
        name, config, source = learned_from(fitted, run.modality)
        given, space = files_in(paths, name), run.space or own_space(source)
        groups = _by_classifier(given, fitted, name, config | settings_of([name], settings)[name])
    items = file_items(given.files)
    if not items:
        run.conclude(report("classify", []), given.failures, lambda: None, given.skipped)
    joint = run.open_space(space, "torch" if fitted is not None and fitted.uses_tower else None)
    found: dict[str, tuple[str, list[Prediction]]] = {}
    modalities = {}
    for encoder, rows, namer in groups(joint):
        own, views = [items[i] for i in rows], getattr(namer, "views", 1)
        embedding = encode(encoder, own, run.batch_size, separate=views > 1, failures=given.failures)
        names = [name.rpartition("#")[0] for name in embedding.ids[::views]] if views > 1 else embedding.ids
        for path, predictions in zip(names, namer.predict(embedding, top), strict=True):
            found[path] = (encoder.name, predictions)
        prompts = {"prompts": run.prompts or encoder.prompts} if fitted is None else {}
        modalities[encoder.name] = {**prompts, "config": asdict(encoder.config), "tuned_on": encoder.tuned_on}
    named = [(item.id, *found[item.id]) for item in items if item.id in found]
    results = [
        {"path": path, "modality": name, "predictions": [asdict(p) for p in predictions]}
        for path, name, predictions in named
    ]

    about = {"space": joint.name, "space_id": joint.id, "dtype": run.dtype}
    learned = {} if fitted is None else {"classifier": {"path": classifier, "kind": fitted.kind, **fitted.settings}}
    record = report("classify", results, modalities=modalities, seed=run.seed, **about, **learned)
    run.conclude(record, given.failures, lambda: _print(named), given.skipped)


def _by_words(
    given: Files, labels: str, none_threshold: float | None, run: RunOptions, settings: Mapping[str, Any]
) -> Groups:
    """space -> the modality of each group of files, their positions, and what names them."""
    from clipx.api import parse_labels
    from clipx.cli._work import encoders, make_classifier, read_prompts
    from clipx.modality import bound

    words, prompts = parse_labels(labels), read_prompts(run.prompts)
    attach = encoders(given.files, run.modality, settings) if given.files else lambda space: []

    def groups(space: JointSpace) -> list[Group]:
        found: list[Group] = []
        for encoder, rows in attach(space):
            namer = make_classifier(space, words, encoder.prompts if prompts is None else prompts, none_threshold)
            found.append((bound(encoder, namer), rows, namer))
        return found

    return groups


def _read(path: Path, run: RunOptions, none_threshold: float | None) -> FewShotClassifier:
    """The classifier in a file. Raises InputError where a flag does not fit it."""
    from clipx.fewshot import load_classifier

    if run.prompts is not None or none_threshold is not None:
        flag = "--prompts" if run.prompts is not None else "--none-threshold"
        raise InputError("is for words, and a classifier has its own classes", where=flag, remedy="leave it out")
    return load_classifier(path)


def _by_classifier(given: Files, fitted: FewShotClassifier, name: str, config: dict[str, Any]) -> Groups:
    """space -> the modality that the classifier learned from, the positions of all files, and the classifier."""
    from clipx.api import make_modality

    rows = list(range(len(given.files)))
    return lambda space: [(make_modality(name, space, config), rows, fitted.attached(space))]


def _print(named: Sequence[tuple[str, str, list[Prediction]]]) -> None:
    from clipx.cli._output import print_grouped

    tables = [
        (path, name, [(p.label, f"{p.cosine:.3f}", f"{p.probability:.1%}") for p in predictions])
        for path, name, predictions in named
    ]
    print_grouped("file", ("label", "cosine", "probability"), tables)
