"""A joint space as ONNX graphs beside its weights, which onnxruntime serves: ``clipx export``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from clipx.backends.manifest import FLOAT32, MANIFEST, GraphFile, ImageOutput, Manifest
from clipx.domains import PHOTO
from clipx.files import sha256_of, write_whole

if TYPE_CHECKING:
    from clipx.space import JointSpace


def add_graphs(folder: Path, space: JointSpace, weights: str) -> Manifest:
    """Write the graphs of a space into the folder where its weights lie.

    Args:
        folder: where to.
        space: as torch serves it.
        weights: name of the weights' file in the folder.
    """
    import torch

    from clipx.backends.external import external_weights
    from clipx.backends.trace import WHICH, Pictures, Words, towers, trace

    backbone = space.backbone.photos
    graphs, images, which = {}, {}, None
    by_domain = towers(backbone)
    for tower in dict.fromkeys(by_domain.values()):
        module = Pictures(backbone, tower)
        prepare = {PHOTO: backbone.preprocess, **backbone.domains}[module.domains[0]]
        example = {"pixels": torch.zeros(2, 3, *prepare.size)}
        model = trace(module, example, {"pixels": {0: "batch"}}, module.outputs)
        name = f"image-{tower}"
        graphs[name] = _write(folder, name, external_weights(model, folder / weights, weights))
        images |= {domain: ImageOutput(name, domain, {PHOTO: backbone.preprocess, **backbone.domains}[domain]) for domain in module.domains}
        which = WHICH if module.tells else which
    model = trace(Words(backbone, False), {"tokens": torch.ones(2, 5, dtype=torch.long)}, {"tokens": {0: "batch", 1: "length"}}, ["text"])
    graphs["text"] = _write(folder, "text", external_weights(model, folder / weights, weights))
    manifest = Manifest(backbone.architecture, space.weights_sha256, FLOAT32, space.dim, space.logit_scale, backbone.logit_bias,
        graphs, {name: images[name] for name in by_domain}, None, False, {weights: sha256_of(folder / weights)}, which)
    write_whole(folder / MANIFEST, manifest.as_json())
    return manifest


def _write(folder: Path, name: str, model) -> GraphFile:
    file = f"{name}.onnx"
    content = model.SerializeToString()
    write_whole(folder / file, content)
    return GraphFile(file, sha256_of(content))
