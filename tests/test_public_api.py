"""What clipx promises to outsiders: names, their docstrings, types, and a way out where an extra is absent.

The lists below are the inventory. A name that comes or goes changes this file, so that it is a decision.
"""

import inspect
import runpy
import sys
import tomllib
from importlib import import_module, resources
from pathlib import Path

import pytest
import torch

from clipx.errors import MissingDependencyError

ROOT = Path(__file__).parents[1]

PUBLIC = {
    "clipx": [
        "ClipxError", "Embedding", "Index", "JointSpace", "Modality", "Prediction", "ZeroShotClassifier", "classify",
        "embed", "export", "get_modality", "list_spaces", "load_space", "optimise",
    ],
    "clipx.backbone": [
        "CONFIG", "TOLERANCES", "Backbone", "Tokenizer", "any_size_image_features", "build_backbone", "build_model",
        "build_tokenizer", "create", "create_from_folder", "create_from_hub", "freeze", "has_lexicon",
        "is_architecture", "load_state",
        "model_config", "pretrained_tags", "random_backbone", "read_weights", "require_trainable",
        "short_text_features", "state_sha256",
    ],
    "clipx.backbone.towers": ["ResNetTower", "TimmTower", "Tower", "ViTTower", "resize_positions", "tower_of"],
    "clipx.contrastive": [
        "DEFAULT", "METHODS", "ImageTower", "Method", "Network", "Views", "decoded", "features", "find_pictures",
        "knn_predictions", "linear_predictions", "load_tower", "method_named", "network_of", "new_tower", "pretrain",
        "pretrain_network", "small", "ssl_config",
    ],
    "clipx.editing": [
        "Generator", "Optimised", "PhotoFilter", "directional_loss", "optimise", "ramp", "similarity_loss",
    ],
    "clipx.fewshot": [
        "AdapterConfig", "AdapterNetwork", "APE", "APETrained", "CacheModel", "CLAP", "CoCoOp", "CoCoOpConfig",
        "CoOp", "CoOpConfig", "cross_validated", "EntropyPrompts", "few_shot_draw", "FewShotClassifier", "fit",
        "fit_shots", "GaussianDiscriminant", "InterViewAdapter", "LinearProbe", "load_classifier", "MetaNet", "Method",
        "method_named", "METHODS", "ProLIP", "Prototype", "Shots", "smoothed_cross_entropy", "TipAdapterF",
        "ViewSearch",
    ],
    "clipx.backends": ["Backend", "OnnxBackend", "TorchBackend"],
    "clipx.index": ["Added", "Hit", "Index", "Store"],
    "clipx.modalities.audio": [
        "Audio", "AudioConfig", "AudioTrainConfig", "ESResNeXt", "LogMelTower", "LongSound", "SfxTower", "Sound",
        "load_audioclip", "load_tower", "read_sound", "synthesise", "train_audio",
    ],
    "clipx.modalities.depth": [
        "Depth", "DepthMap", "EstimateConfig", "Estimator", "Fit", "FitConfig", "Intrinsics", "cloud_ply",
        "depth_metrics", "depth_png", "estimate", "fit_depth", "load_fit", "read_depth", "read_pairs", "read_rgb",
    ],
    "clipx.modalities.detect": [
        "DetectConfig", "Detections", "Detector", "GroundConfig", "Grounder", "Grounding", "HubDetector", "Phrase",
        "Proposals", "RegionEncoder", "RegionHead", "TrainConfig", "detect", "gather", "ground", "load_head",
        "noun_phrases", "propose", "train_head",
    ],
    "clipx.modalities.pointcloud": [
        "PROJECTIONS", "Cloud", "Mesh", "PointCloud", "pointclip_v1", "project", "read_geometry",
    ],
    "clipx.modalities.pointcloud.projection": [
        "PROJECTIONS", "SETTINGS", "Projection", "ViewWeights", "get_projection", "mesh_raster", "ortho_splat",
        "pointclip_v1", "pointclip_v2", "project", "resized", "shaded", "to_input",
    ],
    "clipx.modalities.segment": [
        "Confusion", "Head", "LabelRegion", "MaskedPhotos", "SegmentConfig", "SegmentTask", "Segmentation",
        "Segmenter", "load_head", "read_masks", "segment",
    ],
    "clipx.modalities.bound": ["Bound", "BoundConfig", "BoundMap", "fit_map", "get_encoder", "load_map"],
    "clipx.modalities.image": ["DistilConfig", "Distilled", "Image", "ImageConfig"],
    "clipx.modalities.sketch": ["Sketch", "StrokeGenerator"],
    "clipx.modalities.video": [
        "Clip", "Film", "Head", "Shot", "Video", "VideoConfig", "VideoTrainConfig", "fit_head", "frame_vectors",
        "load_head", "shots",
    ],
    "clipx.modalities.video.heads": ["HEADS", "Head", "HeadNetwork", "load_head", "new_head"],
    "clipx.training": [
        "affinity_loss",
        "TrainConfig", "contrastive_loss", "plot_history", "prepare_folder", "scaled", "sigmoid_loss", "stop_asked",
        "train",
    ],
}  # fmt: skip
# Modules without __all__ that the documentation's API pages name: what they define without an underscore is public.
DOCUMENTED = ["clipx.errors", "clipx.metrics", "clipx.prompts", "clipx.testing", "clipx.modalities.image"]
ERRORS = [
    "ClipxError", "ContractError", "FileError", "InputError", "MissingDependencyError", "NoTrackError", "SpaceError",
    "SpaceMismatchError", "UnsupportedError", "VocabularyError",
]  # fmt: skip


@pytest.mark.parametrize("package", PUBLIC)
def test_the_inventory_is_what_there_is(package):
    module = import_module(package)
    assert sorted(module.__all__) == sorted(PUBLIC[package])
    for name in module.__all__:
        assert getattr(module, name) is not None
    with pytest.raises(AttributeError):
        module.no_such_name  # noqa: B018


def test_no_package_with_names_is_forgotten():
    """Every package that lists its names stands in the inventory."""
    sources = {"clipx": ROOT / "clipx", "clipx.modalities": ROOT / "modalities"}
    found = set()
    for top, folder in sources.items():
        for path in folder.rglob("__init__.py"):
            if "__all__" in path.read_text(encoding="utf-8"):
                found.add(".".join([top, *path.relative_to(folder).parent.parts]))
    assert found == set(PUBLIC)


def test_the_errors_are_these():
    errors = import_module("clipx.errors")
    assert (
        sorted(n for n, v in vars(errors).items() if inspect.isclass(v) and v.__module__ == errors.__name__) == ERRORS
    )


def public():
    """(where, name, object) of every public function and class."""
    for package, names in PUBLIC.items():
        yield from ((package, name, getattr(import_module(package), name)) for name in names)
    for package in DOCUMENTED:
        for name, value in vars(import_module(package)).items():
            if not name.startswith("_") and getattr(value, "__module__", None) == package:
                yield package, name, value


def test_every_public_name_says_what_it_is():
    silent = []
    for package, name, value in public():
        if not (inspect.isclass(value) or inspect.isfunction(value)):
            continue
        said = value.__doc__ or ""
        if len(said.split()) < 3 or said.startswith(f"{name}("):  # what dataclass writes by itself
            silent.append(f"{package}.{name}")
        if inspect.isclass(value) and value.__module__.startswith("clipx"):
            own = {n: v for n, v in vars(value).items() if not n.startswith("_")}
            silent += [
                f"{package}.{name}.{n}"
                for n, v in own.items()
                if inspect.isfunction(inspect.unwrap(getattr(v, "__func__", v)))
                and not inspect.getdoc(getattr(value, n))
            ]
    assert sorted(set(silent)) == sorted(UNSAID)


UNSAID = [  # of a part of the contract suite, what the check says is said
    "clipx.testing.Subject.require",
]


def test_types_are_shipped():
    assert resources.files("clipx").joinpath("py.typed").is_file()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert "py.typed" in project["tool"]["setuptools"]["package-data"]["clipx"]


# What is asked for where an extra is absent ---------------------------------------------------------------------------


def las(tmp_path):
    (tmp_path / "scan.las").write_bytes(b"LASF" + bytes(300))
    import_module("clipx.modalities.pointcloud").read_geometry(tmp_path / "scan.las")


def h5(tmp_path):
    (tmp_path / "ply_data_test0.h5").write_bytes(b"\x89HDF\r\n\x1a\n")
    import_module("clipx.modalities.pointcloud.benchmarks")._read(tmp_path / "ply_data_test0.h5")


def open3d(tmp_path):
    import_module("clipx.modalities.pointcloud").project("shaded", torch.rand(1, 64, 3), backend="open3d")


def video(tmp_path):
    import_module("clipx.films").pyav()


def mask(tmp_path):
    from PIL import Image

    Image.radial_gradient("L").save(tmp_path / "photo.png")
    import_module("clipx.modalities.sketch.target").load_target(tmp_path / "photo.png", mask="auto")


def hub(tmp_path):
    (tmp_path / "tokenizer.json").write_text("{}")
    config = {"text_cfg": {"hf_tokenizer_name": "x/y"}}
    import_module("clipx.backbone").build_tokenizer(config, tmp_path)


def plotter(tmp_path):
    import_module("clipx.modalities.sketch.plotter").hpgl('<svg width="9mm" height="9mm"/>', "hp7475a")


def detect(tmp_path):
    import_module("clipx.modalities.detect.evaluate").CocoFigures([], [])


def heic(tmp_path):
    (tmp_path / "a.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    import_module("clipx.pictures").open_picture(tmp_path / "a.heic")


def sklearn(tmp_path):
    runpy.run_path(str(ROOT / "clipx/fewshot/estimator.py"))


def ray(tmp_path):
    import_module("clipx.index.ray_engine").RayEngine()


def mcp(tmp_path):
    runpy.run_path(str(ROOT / "clipx/mcp_server.py"))  # as it is imported for the first time


def export(tmp_path):
    import_module("clipx.backends.trace").trace(torch.nn.Identity(), {}, {}, ())


def serve(tmp_path):
    import_module("clipx.serve").app(None)


NEEDS = {  # extra -> (the module that is absent, who asks for it, the install line)
    "export": ("onnxscript", export, "pip install 'clipx-modalities[export]'"),
    "detect": ("pycocotools", detect, "pip install 'clipx-modalities[detect]'"),
    "heic": ("pillow_heif", heic, "pip install 'clipx-modalities[heic]'"),
    "las": ("laspy", las, "pip install 'clipx-modalities[las]'"),
    "h5": ("h5py", h5, "pip install 'clipx-modalities[h5]'"),
    "sklearn": ("sklearn", sklearn, "pip install 'clipx-modalities[sklearn]'"),
    "ray": ("ray", ray, "pip install 'clipx-modalities[ray]'"),
    "mcp": ("mcp", mcp, "pip install 'clipx-modalities[mcp]'"),
    "open3d": ("open3d", open3d, "pip install 'clipx-modalities[open3d]'"),
    "plotter": ("vpype", plotter, "pip install 'clipx-modalities[plotter]'"),
    "video": ("av", video, "pip install 'clipx-modalities[video]'"),
    "mask": ("rembg", mask, "pip install 'clipx-modalities[mask]'"),
    "serve": ("starlette", serve, "pip install 'clipx-modalities[serve]'"),
    "hub": ("transformers", hub, "pip install 'clipx-modalities[hub]'"),
}
NOT_IMPORTED = {"all", "docs", "recipes", "test"}  # by the package itself


def test_every_extra_is_accounted_for():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert set(project["project"]["optional-dependencies"]) == set(NEEDS) | NOT_IMPORTED


@pytest.mark.parametrize("extra", NEEDS)
def test_an_absent_extra_names_its_install_line(extra, tmp_path, monkeypatch):
    package, ask, line = NEEDS[extra]
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)  # importing it fails
    with pytest.raises(MissingDependencyError) as caught:
        ask(tmp_path)
    assert line in str(caught.value) and "\n" not in str(caught.value)


def test_a_text_tower_of_the_hub_names_the_same_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    text, vision = {"hf_model_name": "x/y"}, {"image_size": 32, "layers": 1, "width": 32, "patch_size": 16}
    with pytest.raises(MissingDependencyError, match=r"x/y.*pip install 'clipx-modalities\[hub\]'"):
        import_module("clipx.backbone").build_model({"embed_dim": 8, "text_cfg": text, "vision_cfg": vision})
