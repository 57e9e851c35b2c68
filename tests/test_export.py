"""Spaces as ONNX graphs: the same vectors and the same id as torch, from the same file of weights, without torch."""

import copy
import json
import pickle
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from conftest import PREPROCESS, RESNET, VIT, WORDS, save_space
from safetensors.torch import load_file, save_file
from test_backbone import FAMILIES, changed
from test_domains import CONFIG as DOMAINS
from test_domains import PHOTO as DOMAINS_PREPROCESS
from test_domains import WORDS as LEXICON
from test_tokenizers import like_bert, like_t5

import clipx
from clipx import backbone as bb
from clipx._threads import one_thread
from clipx.backends import export as exporting
from clipx.backends.external import SMALL, external_weights
from clipx.backends.graph import Graph
from clipx.backends.manifest import MANIFEST, Manifest, settings_sha256
from clipx.backends.parity import compare, pictures
from clipx.errors import ClipxError, FileError, InputError, MissingDependencyError, SpaceError, UnsupportedError
from clipx.space import random_space
from clipx.spaces.embedded import SPACES, save_embedded
from clipx.spaces.loading import load_space

TEXTS = ["a chair", "a photo of a small cat", "q", "eine Katze 🐱", "one two three four five six seven eight nine ten"]
SIGLIP = changed(
    FAMILIES["timm-siglip"],
    text={"no_causal_mask": True, "proj_bias": True, "pool_type": "last"},
    top={"init_logit_bias": -10.0, "init_logit_scale": 2.3},
)
SOME = {  # exported by every run of the tests, the rest by those of -m slow
    "vit": VIT,
    "siglip": SIGLIP,
}
OTHERS = {
    **{name: config for name, config in FAMILIES.items() if name not in SOME},
    "end-by-number": changed(VIT, text={"pool_type": "eos", "eos_id": 49407}, top={"custom_text": True}),
}
ALL = [*SOME, *(pytest.param(name, marks=pytest.mark.slow) for name in OTHERS)]


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Folder of a family -> it is exported once."""
    root, made = tmp_path_factory.mktemp("exported"), {}

    def get(family):
        if family not in made:
            space = random_space({**SOME, **OTHERS}[family], preprocess_cfg=PREPROCESS)
            clipx.export(space, root / family)
            made[family] = space, root / family
        return made[family]

    return get


def noise(n=3, h=50, w=70, seed=0):
    return np.random.default_rng(seed).random((n, 3, h, w), np.float32)


# The same space -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ALL)
def test_the_space_is_the_same_by_onnxruntime_and_by_torch(exported, family):
    space, folder = exported(family)
    served, again = load_space(folder, backend="onnx"), load_space(folder, backend="torch")
    assert served.id == again.id == space.id
    for other in (served, again):
        assert (other.dim, other.logit_scale) == (space.dim, space.logit_scale)
        assert other.backend.logit_bias == space.backend.logit_bias
        assert other.preprocess == space.preprocess
        np.testing.assert_allclose(other.encode_image(noise()), space.encode_image(noise()), atol=1e-5)
        np.testing.assert_allclose(other.encode_text(TEXTS), space.encode_text(TEXTS), atol=1e-5)
    assert served.encode_with_domain(noise())[1] == ["photo"] * 3


@pytest.mark.parametrize("family", ALL)
def test_vectors_do_not_depend_on_the_batch_and_repeat_to_the_bit(exported, family):
    served = load_space(exported(family)[1])
    for encode, some in ((served.encode_image, noise(5)), (served.encode_text, TEXTS)):
        together = encode(some)
        alone = np.concatenate([encode(some[i : i + 1]) for i in range(len(some))])
        np.testing.assert_allclose(together, alone, atol=1e-5)
        assert np.array_equal(together, encode(some))


@pytest.mark.parametrize("family", ALL)
def test_graphs_hold_no_weights_and_no_paths(exported, family):
    _, folder = exported(family)
    manifest = Manifest.read(folder)
    assert set(manifest.graphs) == {"image-photo", "text"}
    for file in manifest.graphs.values():
        graph = onnx.load(folder / file.file, load_external_data=False).graph
        inside = {t.name: len(t.raw_data) for t in graph.initializer if len(t.raw_data) >= SMALL}
        largest = 4 * 257 * 257 if family == "timm-convnext" else 4 * 33 * 33  # masks and positions made from none
        assert not inside or max(inside.values()) <= largest, inside
        assert str(Path(torch.__file__).parents[1]).encode() not in (folder / file.file).read_bytes()


def test_a_sigmoid_s_bias_is_kept(exported):
    assert load_space(exported("siglip")[1]).backend.logit_bias == -10


def test_the_files_are_those_of_open_clip(exported):
    space, folder = exported("vit")
    names = {"image-photo.onnx", "text.onnx", "onnx.json", "open_clip_config.json", "tokenizer.json"}
    assert {path.name for path in folder.iterdir()} == {*names, "open_clip_model.safetensors"}
    saved = load_file(folder / "open_clip_model.safetensors")
    assert set(saved) == set(space.backbone.model.state_dict())


def test_weights_that_fit_float16_are_stored_so_and_are_the_same(tmp_path):
    model = bb.build_model(VIT)
    model.load_state_dict({k: v.half().float() if v.ndim else v for k, v in model.state_dict().items()})
    space = random_space(VIT, preprocess_cfg=PREPROCESS)
    space.backbone.model.load_state_dict(model.state_dict())
    exporting._write_space(space, tmp_path, False)
    kinds = {name: value.dtype for name, value in load_file(tmp_path / "open_clip_model.safetensors").items()}
    assert kinds["visual.proj"] == torch.float16 and kinds["logit_scale"] == torch.float32
    assert load_space(tmp_path).weights_sha256 == space.backbone.weights_sha256()


def test_what_needs_torch_loads_it_from_the_folder(exported):
    space, folder = exported("vit")
    served, pixels = load_space(folder), torch.from_numpy(noise(1, 32, 32)).requires_grad_()
    torch.testing.assert_close(served.dense_image(pixels), space.dense_image(pixels))
    served.encode_image(pixels).sum().backward()
    assert pixels.grad.abs().sum() > 0


def test_a_text_that_is_too_long_is_refused_alike(exported):
    space, folder = exported("vit")
    for other in (space, load_space(folder)):
        with pytest.raises(InputError, match="a text of 42 tokens does not fit the 32 this space reads"):
            other.encode_text(["cat " * 40])


# How it runs ----------------------------------------------------------------------------------------------------------

PROBE = """
import sys
import numpy as np
from clipx import load_space
space = load_space(sys.argv[1])
space.encode_image(np.zeros((1, 3, 9, 9), np.float32)), space.encode_text(["a chair"]), repr(space)
heavy = {"torch", "open_clip", "timm", "transformers", "onnx", "onnxscript"} & set(sys.modules)
assert not heavy, heavy
"""


@pytest.mark.parametrize("name", ["lite", "vit"])
def test_torch_is_not_imported(exported, name):
    where = name if name == "lite" else str(exported(name)[1])
    done = subprocess.run([sys.executable, "-c", PROBE, where], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_words_do_not_load_the_image_tower_nor_pictures_the_text_tower(exported):
    for encode, idle in (
        (lambda space: space.encode_text(["a"]), "image-photo"),
        (lambda space: space.encode_image(noise(1)), "text"),
    ):
        served = load_space(exported("vit")[1])
        encode(served)
        graphs = served.backend._parts._graphs
        assert [name for name, graph in graphs.items() if not graph._sessions] == [idle]


def test_threads_of_a_pool_run_alone_and_agree(exported, monkeypatch):
    monkeypatch.setattr("clipx.backends.graph.threads", lambda: 2)
    served, some = load_space(exported("vit")[1]), noise(8)
    several = served.encode_image(some)
    monkeypatch.undo()
    with one_thread():
        alone = served.encode_image(some)
    assert set(served.backend._parts.graph("image-photo")._sessions) == {1, 2}
    np.testing.assert_allclose(several, alone, atol=1e-6)

    def encode(_):
        with one_thread():
            return served.encode_image(some)

    with ThreadPoolExecutor(4) as pool:
        assert all(np.array_equal(alone, other) for other in pool.map(encode, range(8)))


# Graphs without weights -----------------------------------------------------------------------------------------------


def small_graph(table, other, codes):
    """rows of a table plus rows of codes, times another matrix: (N,) -> (N, 8)."""
    helper, kind = onnx.helper, onnx.TensorProto
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["rows"]),
        helper.make_node("Gather", ["codes", "ids"], ["coded"]),
        helper.make_node("Cast", ["coded"], ["floats"], to=kind.FLOAT),
        helper.make_node("Add", ["rows", "floats"], ["sum"]),
        helper.make_node("MatMul", ["sum", "other"], ["product"]),
        helper.make_node("Add", ["product", "own"], ["out"]),
    ]
    values = {"table": table, "other": other, "codes": codes, "own": np.arange(100, dtype=np.float32)[:1]}
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("ids", kind.INT64, ["n"])],
        [helper.make_tensor_value_info("out", kind.FLOAT, ["n", other.shape[1]])],
        [onnx.numpy_helper.from_array(value, name) for name, value in values.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


@pytest.mark.parametrize("kind", [torch.float32, torch.float16, torch.bfloat16])
def test_weights_are_found_by_their_values(tmp_path, kind):
    generator = torch.Generator().manual_seed(0)
    table, other = (torch.randn(50, 16, generator=generator).to(kind), torch.randn(16, 8, generator=generator).to(kind))
    codes = torch.randint(-99, 99, (50, 16), generator=generator, dtype=torch.int8)
    decoy = torch.randn(50, 16, generator=generator).to(kind)
    save_file({"x": decoy, "y": table, "z": other, "c": codes}, tmp_path / "w.safetensors")
    graph = small_graph(table.float().numpy(), other.float().numpy(), codes.numpy())
    external_weights(graph, tmp_path / "w.safetensors", "w.safetensors")
    onnx.save(graph, tmp_path / "g.onnx")
    assert len(graph.SerializeToString()) < 1500
    outside = [t for t in graph.graph.initializer if t.data_location == onnx.TensorProto.EXTERNAL]
    assert len(outside) == 3 and [t.name for t in graph.graph.initializer if t not in outside] == ["own"]
    gathers = {node.input[0] for node in graph.graph.node if node.op_type == "Gather"}
    assert ("table" in gathers) == (kind == torch.float32)  # else the table is gathered from as it is stored
    ids = np.array([3, 3, 49, 0])
    expected = (table.float()[ids] + codes[ids].float()) @ other.float()
    np.testing.assert_allclose(Graph(tmp_path / "g.onnx")(["out"], ids=ids)[0], expected, atol=1e-4)


def test_what_the_file_does_not_hold_stays_in_the_graph(tmp_path):
    rng = np.random.default_rng(0)
    table, other = rng.random((50, 16), np.float32), rng.random((16, 8), np.float32)
    codes = rng.integers(-9, 9, (50, 16)).astype(np.int8)
    save_file({"y": torch.from_numpy(table).half()}, tmp_path / "w.safetensors")  # rounded: not the same
    graph = small_graph(table, other, codes)
    before = graph.SerializeToString()
    assert external_weights(graph, tmp_path / "w.safetensors", "w.safetensors").SerializeToString() == before


# Embedded spaces ------------------------------------------------------------------------------------------------------


def test_the_shipped_graphs_are_those_of_the_shipped_weights():
    served, defined = load_space("lite"), load_space("lite", backend="torch")
    assert served.id == defined.id and served.domains == defined.domains and len(served.domains) == 5
    found = compare(defined, served, pictures()[::4])
    assert max(entry["largest_difference"] for entry in found.values() if isinstance(entry, dict)) < 1e-5
    assert found["same_domain"] == 1
    assert {served.domain(name).preprocess for name in served.domains} == {
        defined.domain(name).preprocess for name in defined.domains
    }
    assert served.domain("drawing").domain("photo").backend is not served.domain("drawing").backend


@pytest.fixture
def embedded(tmp_path, tiny_space):
    return save_space(tiny_space, tmp_path / "tiny", WORDS)


def test_an_embedded_space_gets_its_graphs_in_place_and_keeps_its_words(run, run_json, embedded, tiny_space):
    before = load_space(embedded)
    assert before.backend.__class__.__name__ == "TorchBackend"
    record = run_json(f"export {embedded} -o {embedded}")
    assert record["precision"] == "float32" and record["id"] == before.id
    assert [row["of"] for row in record["results"]] == ["photo", "text"]
    assert all(row["largest_difference"] < 1e-5 for row in record["results"])
    stored = json.loads((embedded / MANIFEST).read_text())["parity"]
    assert stored["photo"]["cosine_distance"] == record["results"][0]["cosine_distance"]
    assert record["bytes"] == sum(path.stat().st_size for path in embedded.iterdir() if path.name != MANIFEST)

    served, texts = load_space(embedded), ["a photo of a chair"]
    assert served.backend.__class__.__name__ == "OnnxBackend" and served.id == before.id
    np.testing.assert_allclose(served.encode_text(texts), before.encode_text(texts), atol=1e-5)
    np.testing.assert_allclose(served.encode_image(noise()), before.encode_image(noise()), atol=1e-5)
    assert served.unknown("a walrus") == ["walrus"]
    assert served.backbone.weights_sha256() == before.backbone.weights_sha256()
    status, out, _ = run(f"classify photo.png --labels chair,table --space {embedded}")
    assert status == 0 and "chair" in out
    assert not list(embedded.glob("*.part*"))

    save_space(tiny_space, embedded, WORDS)  # trained again: graphs of other weights are not served
    assert load_space(embedded).backend.__class__.__name__ == "TorchBackend"


def test_graphs_of_other_weights_are_refused(tmp_path, embedded):
    manifest = json.loads((SPACES / "lite" / MANIFEST).read_text())
    (embedded / MANIFEST).write_text(json.dumps({**manifest, "settings_sha256": settings_sha256(embedded)}))
    with pytest.raises(SpaceError, match="its graphs are of other weights; export the space again"):
        load_space(embedded)


@pytest.mark.slow
def test_rows_that_an_embedded_space_leaves_out_are_zero(tmp_path):
    space = random_space(RESNET, preprocess_cfg=PREPROCESS)
    tokens = space.backbone.tokenizer(["a photo of a chair"]).unique().tolist()
    named = {"name": "few", "version": "0", "model_cfg": RESNET, "preprocess_cfg": PREPROCESS}
    words = {"words": {"chair": "pictures"}}
    save_embedded(space.backbone.model, tmp_path / "few", vocabulary=words, token_index=tokens, **named)
    clipx.export(tmp_path / "few", tmp_path / "out")
    texts = ["a photo of a chair", "a walrus", "chair"]
    defined, served = load_space(tmp_path / "few", backend="torch"), load_space(tmp_path / "out", backend="onnx")
    assert served.id == defined.id and served.name == "few"
    np.testing.assert_allclose(served.encode_text(texts), defined.encode_text(texts), atol=1e-5)
    assert (tmp_path / "out" / "text.onnx").stat().st_size < 2 * 49408 + 40_000  # two bytes a token, and no table


@pytest.mark.slow
def test_a_space_of_several_domains(tmp_path):
    model = bb.build_model(DOMAINS)
    with torch.no_grad():
        model.text.seen.normal_(generator=torch.Generator().manual_seed(0))
    named = {"name": "domains", "version": "1", "model_cfg": DOMAINS, "preprocess_cfg": DOMAINS_PREPROCESS}
    save_embedded(model, tmp_path / "made", vocabulary=LEXICON, **named)
    clipx.export(tmp_path / "made", tmp_path / "out")
    defined, served = load_space(tmp_path / "made", backend="torch"), load_space(tmp_path / "out", backend="onnx")
    assert served.domains == ("photo", "drawing", "render") and served.id == defined.id
    found = compare(defined, served, pictures()[::4])
    assert max(entry["largest_difference"] for entry in found.values() if isinstance(entry, dict)) < 1e-5
    assert found["same_domain"] == 1


HUB_TEXT = {
    "bert": ("BertConfig", like_bert),
    "xlm-roberta": ("XLMRobertaConfig", like_t5),
    "mt5": ("MT5Config", like_t5),
}
SMALL_TEXT = {
    "bert": {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64},
    "mt5": {"d_model": 32, "d_kv": 16, "d_ff": 64, "num_layers": 2, "num_heads": 2},
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", HUB_TEXT)
def test_a_text_tower_of_the_hub(tmp_path, kind):
    transformers = pytest.importorskip("transformers")
    name, make = HUB_TEXT[kind]
    source = tmp_path / "source"
    make().save_pretrained(source)
    getattr(transformers, name)(vocab_size=200, **SMALL_TEXT.get(kind, SMALL_TEXT["bert"])).save_pretrained(source)
    text = {"hf_model_name": str(source), "hf_tokenizer_name": str(source), "context_length": 24}
    text |= {"hf_proj_type": "mlp", "hf_pooler_type": "mean_pooler"}
    config = {**VIT, "text_cfg": text}
    weights = bb.build_model(config).state_dict()
    backbone = bb.build_backbone(config, PREPROCESS, architecture=kind, weights=weights, tokenizer_folder=source)
    space = clipx.JointSpace(kind, backbone)
    clipx.export(space, tmp_path / "out")
    said = ["a cat", "two dogs on the beach"]
    for backend in ("onnx", "torch"):
        other = load_space(tmp_path / "out", backend=backend)
        assert other.id == space.id
        np.testing.assert_allclose(other.encode_text(said), space.encode_text(said), atol=1e-5)


# Refusals -------------------------------------------------------------------------------------------------------------


def test_a_folder_that_is_not_empty_is_left_alone(tmp_path, exported):
    (tmp_path / "mine.txt").write_text("mine")
    for folder, line in (
        (tmp_path, "the folder is not empty; name a new one"),
        (tmp_path / "mine.txt", "is no folder"),
    ):
        with pytest.raises(FileError, match=line):
            clipx.export("lite", folder)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_vectors_that_differ_are_an_error_and_leave_nothing(tmp_path, monkeypatch, exported):
    space, folder = exported("vit")
    monkeypatch.setattr(exporting, "TOLERANCE", 1e-12)
    monkeypatch.setattr(exporting, "_write_graphs", lambda *_: Manifest.read(folder))
    shutil.copytree(folder, tmp_path / "copy")

    def write(_, there, __):
        shutil.copytree(folder, there, dirs_exist_ok=True)

    monkeypatch.setattr(exporting, "_write_space", write)
    with pytest.raises(SpaceError, match=r"a vector differs from torch's by .*\(at most 1e-12\); serve this space by"):
        clipx.export(space, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["copy"]


def test_half_precision_is_not_exported(tmp_path, space_folder):
    space = load_space(space_folder, dtype=torch.bfloat16)
    with pytest.raises(InputError, match="exported from float32 on the CPU; load it so"):
        clipx.export(space, tmp_path / "out")


def test_packages_that_are_missing_are_named(tmp_path, monkeypatch, tiny_space):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(MissingDependencyError, match=r"needs onnx and onnxscript; pip install 'clipx-modalities\[exp"):
        clipx.export(tiny_space, tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_a_tower_that_torch_cannot_export_is_named(tmp_path, monkeypatch, tiny_space):
    def fail(*_, **__):
        raise RuntimeError("no such operator\nand more")

    monkeypatch.setattr(torch.onnx, "export", fail)
    with pytest.raises(UnsupportedError, match="torch cannot export Pictures: no such operator; serve this space by"):
        clipx.export(tiny_space, tmp_path / "out")


@pytest.fixture
def copied(tmp_path, exported):
    return shutil.copytree(exported("vit")[1], tmp_path / "copy")


def first(path, content):
    path.write_bytes(content + path.read_bytes()[len(content) :])


@pytest.mark.parametrize(
    ("damage", "line"),
    [
        (lambda folder: (folder / MANIFEST).write_text("{}"), "malformed: KeyError"),
        (lambda folder: (folder / MANIFEST).write_text("["), "malformed: JSONDecodeError"),
        (lambda folder: (folder / MANIFEST).write_text('{"format": 99}'), "of another version of clipx; export"),
        (lambda folder: first(folder / "image-photo.onnx", b"12345678"), "not the graph that was exported"),
        (lambda folder: (folder / "image-photo.onnx").unlink(), "image-photo.onnx: cannot be read"),
        (lambda folder: (folder / "open_clip_model.safetensors").unlink(), "weights are missing; export the"),
        (lambda folder: first(folder / "open_clip_model.safetensors", b"12345678"), "weights are corrupt"),
        (lambda folder: first(folder / "tokenizer.json", b"12345678"), "not the tokenizer that was exported"),
        (lambda folder: (folder / "tokenizer.json").unlink(), "is no tokenizer"),
    ],
)
def test_damage_is_one_line(copied, damage, line):
    damage(copied)
    with pytest.raises(ClipxError, match=line):
        space = load_space(copied, backend="onnx")
        space.encode_image(noise(1)), space.encode_text(["a"])


def test_a_graph_outside_the_folder_is_refused(copied):
    record = json.loads((copied / MANIFEST).read_text())
    record["graphs"]["text"]["file"] = "../text.onnx"
    (copied / MANIFEST).write_text(json.dumps(record))
    with pytest.raises(SpaceError, match="names a file outside the folder"):
        load_space(copied)


# 8 bits ---------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("family", ["vit", "resnet", "timm-convnext"])
def test_int8_is_another_space_near_by(tmp_path, family):
    space = random_space({**SOME, **OTHERS}[family], preprocess_cfg=PREPROCESS)
    report = clipx.export(space, tmp_path / "int8", int8=True)
    served = load_space(tmp_path / "int8")
    assert served.id == report["id"] != space.id and served.id.startswith(f"{space.backend.architecture}-int8:")
    assert report["precision"] == "int8" and report["photo"]["mean"] < 0.1 and report["text"]["mean"] < 0.01
    assert not list((tmp_path / "int8").glob("*.safetensors"))
    for encode, some in ((served.encode_image, noise(4)), (served.encode_text, TEXTS)):
        together = encode(some)
        alone = np.concatenate([encode(some[i : i + 1]) for i in range(len(some))])
        np.testing.assert_allclose(together, alone, atol=1e-5)
        assert np.array_equal(together, encode(some))
    for ask in (lambda: load_space(tmp_path / "int8", backend="torch"), lambda: served.backbone):
        with pytest.raises(SpaceError, match="an int8 space is served by onnxruntime alone"):
            ask()


@pytest.mark.slow
def test_an_embedded_space_in_int8_keeps_its_words(tmp_path, embedded):
    clipx.export(embedded, tmp_path / "int8", int8=True)
    served = load_space(tmp_path / "int8")
    assert served.name == "tiny-int8" and served.unknown("walrus") == ["walrus"]
    with pytest.raises(SpaceError, match="an int8 space is served by onnxruntime alone"):
        load_space(tmp_path / "int8", backend="torch")


# The command ----------------------------------------------------------------------------------------------------------


def test_the_command_prints_a_table_and_refuses_in_one_line(run, tmp_path, monkeypatch):
    found = {"precision": "float32", "id": "x:y:z", "bytes": 1_500_000, "pictures": 3, "same_domain": 1.0}
    found["text"] = {"cosine_distance": 1.2e-12, "mean": 3e-13, "largest_difference": 4.5e-7}
    monkeypatch.setattr(exporting, "export", lambda *_, **__: found)
    status, out, _ = run(f"export lite -o {tmp_path / 'out'}")
    assert status == 0
    assert out.splitlines()[1] == "text\t1.2e-12\t3.0e-13\t4.5e-07"
    assert out.splitlines()[-1] == f"{tmp_path / 'out'}: 1.5 MB, float32, x:y:z"
    monkeypatch.undo()
    status, _, err = run("export nowhere -o out")
    assert status == 2 and err.count("\n") == 1 and "no space named 'nowhere'" in err


def test_pictures_of_one_s_own_are_compared(tmp_path):
    from PIL import Image

    with pytest.raises(FileError, match="holds no pictures"):
        pictures(tmp_path)
    Image.new("RGB", (3000, 20), "red").save(tmp_path / "wide.png")
    assert pictures(tmp_path)[-1].shape == (1, 3, 7, 1024) and len(pictures(tmp_path)) == len(pictures()) + 1


# Found by review ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["interrupted", "nan"])
def test_an_export_in_place_that_fails_leaves_what_was_served(how, tmp_path, monkeypatch):
    folder = tmp_path / "lite"
    shutil.copytree(SPACES / "lite", folder)
    space = load_space(folder, backend="torch")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def wrong(*given, **more):
        if how == "interrupted":
            raise KeyboardInterrupt
        return {"photo": {"largest_difference": 1e-7}, "text": {"largest_difference": float("nan")}}

    monkeypatch.setattr("clipx.backends.trace.trace", lambda *given, **more: onnx.ModelProto())
    monkeypatch.setattr("clipx.backends.external.external_weights", lambda *given: None)
    monkeypatch.setattr("clipx.backends.parity.compare", wrong)
    with pytest.raises(KeyboardInterrupt if how == "interrupted" else SpaceError):
        clipx.export(space, folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert load_space(folder, backend="onnx").encode_text(["a chair"]).shape == (1, 512)


def test_a_folder_may_be_the_one_that_a_shell_stands_in(copied, tmp_path, monkeypatch):
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "empty")
    for name in ("empty", "link"):
        with exporting._whole(tmp_path / name) as unfinished:
            (unfinished / "file").write_text("new")
        assert [path.name for path in (tmp_path / name).iterdir()] == ["file"]
    monkeypatch.chdir(tmp_path / "empty")
    with exporting._whole(Path(".")) as unfinished:
        (unfinished / MANIFEST).write_text("{}")
    assert sorted(path.name for path in Path(".").iterdir()) == ["file", MANIFEST]


def test_a_space_can_be_copied_and_sent_to_another_process(exported):
    served = load_space(exported("vit")[1])
    wanted = served.encode_image(noise())  # sessions are open
    for other in (pickle.loads(pickle.dumps(served)), copy.deepcopy(served)):
        assert np.array_equal(other.encode_image(noise()), wanted) and other.id == served.id


def test_a_configuration_that_was_edited_is_refused(copied):
    path = copied / "open_clip_config.json"
    config = json.loads(path.read_text())
    config["preprocess_cfg"]["mean"] = [0.1, 0.2, 0.3]
    path.write_text(json.dumps(config))
    with pytest.raises(SpaceError, match=r"its configuration or its words were changed.*export the space again"):
        load_space(copied)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda record: record["tokenizer"].update(file="../t.json"), "names a file outside the folder"),
        (lambda record: record["images"].pop("photo"), "does not say how photos are encoded"),
        (lambda record: record["images"]["photo"].update(graph="nope"), "does not say how photos are encoded"),
    ],
)
def test_a_manifest_that_makes_no_sense_is_refused(copied, change, line):
    record = json.loads((copied / MANIFEST).read_text())
    change(record)
    (copied / MANIFEST).write_text(json.dumps(record))
    with pytest.raises(SpaceError, match=line):
        load_space(copied)


def test_a_space_without_a_text_tower_says_so(copied):
    record = json.loads((copied / MANIFEST).read_text())
    record["tokenizer"] = None
    del record["graphs"]["text"]
    (copied / MANIFEST).write_text(json.dumps(record))
    with pytest.raises(UnsupportedError, match="has no tokenizer"):
        load_space(copied).encode_text(["a chair"])
