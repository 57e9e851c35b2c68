"""clipx doctor: does this installation work?"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator
from functools import partial
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clipx.cli._options import RunOptions, takes

if TYPE_CHECKING:
    import numpy as np

    from clipx.space import JointSpace

DISTRIBUTION = "clipx-modalities"
OPTIONAL = {  # distribution -> (what for, how to install it)
    "onnxscript": ("clipx export", "pip install 'clipx-modalities[export]'"),
    "transformers": ("tokenizers of SigLIP and other hf-hub: models", "pip install 'clipx-modalities[hub]'"),
}


@takes("device", "dtype", "out", "as_json", "config")
def doctor(
    space: Annotated[
        str | None,
        typer.Option(
            "--space",
            help="Test this joint space, as other commands take it; weights are fetched. Default: the embedded ones.",
            show_default=False,
        ),
    ] = None,
    *,
    run: RunOptions,
) -> None:
    """Check the packages, and of spaces the weights and a first computation; exit status 1 if one is broken.

    Example: clipx doctor --space ViT-B-32-quickgelu/openai --device cuda
    """
    from clipx._device import check_device
    from clipx.cli._output import print_table, report
    from clipx.progress import progress

    run.check_writable()
    check_device(run.device)
    with progress("checking", None):
        results = list(_checks(space, run.device, run.dtype))
    rows = [(r["state"], r["name"], r["detail"]) for r in results]
    broken = [r["name"] for r in results if r["state"] == "broken"]
    run.emit(report("doctor", results, ok=not broken), lambda: print_table(("state", "what", "detail"), rows))
    if broken:
        raise typer.Exit(1)


def _checks(space: str | None, device: str, dtype: str) -> Iterator[dict[str, Any]]:
    yield _line("ok", "python", f"{platform.python_version()} on {platform.system()} {platform.machine()}")
    yield from _packages()
    yield _tried("torchvision operators", _torchvision)
    yield _tried("open_clip", _open_clip)
    yield _tried("devices", _devices)
    yield from _modalities()
    yield from _spaces(space, device, dtype)
    for name, (purpose, install) in OPTIONAL.items():
        try:
            yield _line("ok", name, version(name))
        except PackageNotFoundError:
            yield _line("absent", name, f"optional, {purpose}: {install}")


def _packages() -> Iterator[dict[str, Any]]:
    """Each required package against the versions clipx asks for."""
    from packaging.requirements import Requirement

    try:
        wanted = [Requirement(text) for text in requires(DISTRIBUTION) or ()]
    except PackageNotFoundError:
        yield _line("broken", DISTRIBUTION, "is not installed as a package; pip install -e . in the clone")
        return
    yield _line("ok", DISTRIBUTION, version(DISTRIBUTION))
    for need in wanted:
        if need.marker is not None and not need.marker.evaluate({"extra": ""}):
            continue
        try:
            found = version(need.name)
        except PackageNotFoundError:
            yield _line("broken", need.name, f"is missing; pip install '{need}'")
            continue
        fits = need.specifier.contains(found, prereleases=True)
        yield (
            _line("ok", need.name, found)
            if fits
            else _line("broken", need.name, f"{found} does not fit; pip install '{need}'")
        )


def _torchvision() -> str:
    import torch
    import torchvision

    torchvision.ops.nms(torch.tensor([[0.0, 0, 1, 1]]), torch.tensor([1.0]), 0.5)  # fails where its torch was another
    return f"{torchvision.__version__} runs with torch {torch.__version__}"


def _open_clip() -> str:
    import open_clip

    return f"{open_clip.__version__}, {len(open_clip.list_models())} architectures"


def _devices() -> str:
    import torch

    if not torch.cuda.is_available():
        return f"cpu, {torch.get_num_threads()} threads; no cuda"
    return ", ".join(["cpu", *(f"cuda:{i} {torch.cuda.get_device_name(i)}" for i in range(torch.cuda.device_count()))])


def _modalities() -> Iterator[dict[str, Any]]:
    from clipx.cli.modalities import modality_health
    from clipx.registry import MODALITIES, registered

    for name in registered(MODALITIES):
        health = modality_health(name)
        files = " ".join(health["suffixes"])
        yield (
            _line("ok", f"modality {name}", files)
            if health["ok"]
            else _line("broken", f"modality {name}", health["remedy"])
        )


def _spaces(space: str | None, device: str, dtype: str) -> Iterator[dict[str, Any]]:
    from clipx.spaces.embedded import embedded_names

    names = embedded_names() if space is None else [space]
    if not names:
        yield _line("broken", "spaces", "are missing from the package; reinstall clipx")
    for name in names:
        yield _tried(f"space {name}", partial(_try_space, name, device, dtype))


def _try_space(name: str, device: str, dtype: str) -> str:
    """Load it, which compares an embedded one's weights with their hash, and compare dense features with embeddings.

    A space with ONNX graphs is also served by onnxruntime, and the vectors of both are compared.
    """
    import torch

    from clipx.backends.manifest import INT8, Manifest, is_exported
    from clipx.errors import SpaceError
    from clipx.spaces.embedded import embedded_folder
    from clipx.spaces.loading import load_space

    folder = embedded_folder(name) or Path(name).expanduser()
    exported = is_exported(folder)
    if exported and Manifest.read(folder).precision == INT8:
        served = load_space(name)
        _first_vectors(served)
        return f"{served.id}, a first computation by onnxruntime, which alone serves it"
    space = load_space(name, device, dtype, backend="torch")
    noise = torch.rand(1, 3, *space.image_size, generator=torch.Generator().manual_seed(0))
    space.backbone.self_test(space.preprocess.normalize(noise.to(space.device)))
    rows, agrees = _first_vectors(space), ""
    if exported:
        distance = float((1 - (rows * _first_vectors(load_space(name, backend="onnx"))).sum(1)).max())
        if dtype == "float32" and not distance < 1e-4:
            raise SpaceError(f"onnxruntime's vectors are a cosine distance of {distance:.1e} away", where=name)
        agrees = f", onnxruntime agrees to {max(distance, 0):.0e}"
    version = f"version {space.version}, weights' hash right, " if space.folder else ""
    return f"{version}{space.id}, self-test passed on {space.device} in {dtype}{agrees}"


def _first_vectors(space: JointSpace) -> np.ndarray:
    """(2, D): of a picture of noise and of a text. Raises SpaceError where they are not of unit norm."""
    import numpy as np

    from clipx.errors import SpaceError

    pixels = np.random.default_rng(0).random((1, 3, *space.image_size), np.float32)
    text = "a photo" if space.vocabulary is None else next(iter(space.vocabulary.words))
    rows = np.concatenate([space.encode_image(pixels), space.encode_text([text])])
    if not (np.abs(np.linalg.norm(rows, axis=1) - 1) < 1e-4).all():  # a NaN fails
        what = "vectors are not of unit norm"
        raise SpaceError(what, where=space.name, remedy="try --dtype float32, or other weights")
    return rows


def _tried(name: str, check: Callable[[], str]) -> dict[str, Any]:
    try:
        return _line("ok", name, check())
    except Exception as error:  # whatever is broken, the other checks still run
        return _line("broken", name, f"{type(error).__name__}: {error}")


def _line(state: str, name: str, detail: str) -> dict[str, Any]:
    return {"state": state, "name": name, "detail": " ".join(detail.split())}
