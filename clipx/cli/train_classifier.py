"""clipx train classifier: labelled files -> a classifier that ``clipx classify --classifier`` takes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clipx.cli._options import RunOptions, takes
from clipx.errors import ClipxError, FileError, InputError, UnsupportedError
from clipx.progress import note

if TYPE_CHECKING:
    from clipx.datasets import LabelledData
    from clipx.space import JointSpace


@dataclass(frozen=True)
class ClassifierOptions:
    """What is learned, and where it goes."""

    method: Annotated[
        str,
        typer.Option("--method", help="gda, cache, probe, clap, coop, ... (docs: few-shot)."),
    ] = "gda"
    out: Annotated[Path, typer.Option("--out", "-o", help="The .safetensors file of the classifier.")] = Path(
        "classifier.safetensors"
    )
    words: Annotated[
        bool, typer.Option("--words/--no-words", help="Let the class names help, where the space knows them.")
    ] = True
    check: Annotated[
        bool,
        typer.Option(
            "--check/--no-check", help="Measure it by cross-validation on the samples: it is fitted four times more."
        ),
    ] = True


@takes("modality", "where", "prompts", "space", "device", "dtype", "backend", "batch_size", "seed", "cache", "resume",
       "as_json", "config")  # fmt: skip
def classifier(
    data: Annotated[
        Path,
        typer.Argument(
            metavar="DATA", help="A folder of class folders, a folder with labels.csv, an .npz, or a layout it knows."
        ),
    ],
    *,
    options: ClassifierOptions,
    run: RunOptions,
    **settings: Any,
) -> None:
    """Learn a classifier from labelled photos, clouds, sounds, films: twenty of each class are plenty.

    The space stays as it is. The file holds the classifier, its classes, the space's
    name and how samples are encoded; clipx classify reads it with --classifier.
    A sample that cannot be read is left out and named at the end, and the exit
    status is then 2.

    Example: clipx train classifier birds/ --method gda -o birds.safetensors

    Example: clipx classify garden/ --classifier birds.safetensors
    """
    from clipx.api import make_modality
    from clipx.cli._flags import settings_of
    from clipx.cli._output import check_writable, report
    from clipx.cli._work import encode, make_classifier, read_prompts, space_name
    from clipx.datasets import read_data
    from clipx.fewshot import cross_validated, fit, method_named
    from clipx.files import require_model_suffix
    from clipx.registry import get_modality
    from clipx.settings import plain, source_of

    out, method = options.out, method_named(options.method)
    require_model_suffix(out)
    check_writable(out)
    name = run.modality or _modality_in(data)
    chosen, prompts = settings_of([name], settings)[name], read_prompts(run.prompts)
    samples = read_data(data, get_modality(name), run.conditions())
    labels = [label.strip() for label in samples.labels]
    classes = _classes(labels, data)
    source = space_name(run.space)
    joint = run.open_space(source, "torch" if method.classifier.uses_tower else None)
    encoder = make_modality(name, joint, chosen)
    words = None
    if _reads_words(options, method.classifier.uses_words, joint, classes):
        words = make_classifier(joint, classes, encoder.prompts if prompts is None else prompts)
    failures: dict[str, ClipxError] = {}
    embedding = encode(encoder, samples.items, run.batch_size, run.cache_folder(), True, failures)  # as clipx eval does
    rows = _read_rows(samples, labels, failures)
    labels = [labels[i] for i in rows]
    views = len(embedding) // len(labels)
    if method.views and views == 1:
        raise UnsupportedError("weighs the views of a sample, and here a sample has one", where=options.method)
    tower = joint if method.classifier.uses_tower else None
    how: dict[str, Any] = {"zeroshot": words, "views": views, "seed": run.seed, "space": tower}
    kept = {"modality": name, "config": plain(asdict(encoder.config)), "split": samples.title}
    kept["space"] = source_of(source)
    fitted = fit(embedding, labels, options.method, settings=kept, **how)
    fitted.save(out)  # before the check, which may take four times as long and can be interrupted
    accuracy = None
    if options.check:
        first = _first_copies([samples.samples[i] for i in rows])
        own = embedding[[i * views + v for i in first for v in range(views)]]
        accuracy = cross_validated(own, [labels[i] for i in first], options.method, **how)
    counts = dict(sorted(Counter(labels).items()))
    result = {"path": out, "method": options.method, "words": words is not None, "check": accuracy, "classes": counts}
    record = report(
        "train classifier",
        [result],
        modality=name,
        space=joint.name,
        space_id=joint.id,
        n=len(labels),
        data_sha256=samples.sha256(),
        settings=fitted.settings,
        seed=run.seed,
    )
    unread = {str(error.where or one): error for one, error in failures.items()}
    run.conclude(record, unread, lambda: _print(record))


def _classes(labels: Sequence[str], data: Path) -> list[str]:
    """The different labels, sorted. Raises InputError for one class, or names that say the same."""
    from clipx.prompts import spoken

    classes = sorted(set(labels))
    if len(classes) < 2:
        raise InputError(f"has one class, {classes[0]!r}", where=data, remedy="give two classes or more")
    known: dict[str, str] = {}
    for label in classes:
        if (other := known.setdefault(spoken(label).casefold(), label)) != label:
            raise InputError(
                f"classes {other!r} and {label!r} have one name", where=data, remedy="give them one folder"
            )
    return classes


def _read_rows(samples: LabelledData, labels: Sequence[str], failures: Mapping[str, ClipxError]) -> list[int]:
    """The samples that were read. Raises a failure where a class has no other sample."""
    rows = [i for i, item in enumerate(samples.items) if item.id not in failures]
    left = {labels[i] for i in rows}
    for item, label in zip(samples.items, labels, strict=True):
        if label not in left:
            raise failures[item.id]
    return rows


def _first_copies(contents: Sequence[str]) -> list[int]:
    """Where each content stands first: a copy would be held out of samples that have it."""
    places: dict[str, int] = {}
    first = [i for i, content in enumerate(contents) if places.setdefault(content, i) == i]
    if copies := len(contents) - len(first):
        note(f"{copies} samples are copies of others; the accuracy is of the others")
    return first


def _modality_in(data: Path) -> str:
    """The modality of the files in a folder or in the table of one. Raises InputError where it is not one."""
    from clipx.api import group_by_modality
    from clipx.files import read_table
    from clipx.registry import modality_of

    if not data.exists():
        raise FileError("no such file", where=data)
    table = data / "labels.csv" if data.is_dir() else data
    if table.suffix.lower() == ".csv" and table.is_file():
        names = [row["path"] for row in read_table(table) if row.get("path")]
    else:
        names = [str(path) for path in sorted(data.glob("*/**/*")) if path.is_file()] if data.is_dir() else []
    known = []
    for name in names:
        try:
            modality_of(name)
        except InputError:
            continue
        known.append(name)
    groups = {name: len(rows) for name, rows in group_by_modality(known).items()}
    if len(groups) == 1:
        return next(iter(groups))
    found = ", ".join(f"{name} {count}" for name, count in sorted(groups.items()))
    if not names and data.is_dir():
        raise InputError("holds no class folders", where=data, remedy="put the samples of each class in a folder")
    what = f"holds files of several modalities: {found}" if groups else "its files do not say what they are"
    raise InputError(what, where=data, remedy="name the modality with --modality")


def _reads_words(options: ClassifierOptions, needed: bool, space: JointSpace, labels: list[str]) -> bool:
    """Whether the class names help to classify; a note says why not."""
    from clipx.prompts import spoken

    if needed or not options.words:
        return needed
    if unknown := [label for label in labels if space.unknown(spoken(label))]:
        more = f" and {len(unknown) - 1} more" if len(unknown) > 1 else ""
        note(f"learned without words: {space.name} never saw {unknown[0]!r}{more}")
        return False
    return True


def _print(record: Mapping[str, Any]) -> None:
    from clipx.cli._output import print_table

    (found,) = record["results"]
    check = found["check"]
    alone = [name for name, count in found["classes"].items() if count == 1]
    if alone:
        note(f"{alone[0]} has one sample, which cannot be held out: it will hardly be named where words do not help")
    right = f"{check['acc1']:.1%} of {check['n']} held out in {check['folds']} folds" if check else "not measured"
    least, most = (pick(found["classes"].values()) for pick in (min, max))
    counts = f"{least}" if least == most else f"{least} to {most}"
    print_table(
        ("classifier", "method", "modality", "classes", "samples a class", "accuracy"),
        [(str(found["path"]), found["method"], record["modality"], str(len(found["classes"])), counts, right)],
    )
