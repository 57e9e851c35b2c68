"""The rules of the house, read from the source: who imports whom, what is cheap to import, what is never used."""

import ast
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import clipx

ROOT = Path(__file__).parents[1]
CORE = sorted((ROOT / "clipx").rglob("*.py"))
MODALITIES = sorted((ROOT / "modalities").rglob("*.py"))
HEAVY = {
    *("lancedb", "matplotlib", "numba", "open3d", "open_clip", "PIL", "pyarrow", "rich", "safetensors"),
    *("scipy", "skimage", "soundfile", "timm", "torchaudio", "torchvision", "transformers", "trimesh"),
}


def named(path):
    """The module that a file is: modalities/image/__init__.py -> clipx.modalities.image."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    parts = ("clipx", *parts) if parts[0] == "modalities" else parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def parsed(path):
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def imports(tree):
    """Every module that a file imports, anywhere in it; ``from a import b`` counts as a and a.b."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide who imports whom"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def imports_at_top(tree):
    """What importing the file imports: everything outside functions and ``if TYPE_CHECKING``."""
    todo = list(tree.body)
    while todo:
        node = todo.pop()
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield from imports(ast.Module([node], []))
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            todo += node.orelse
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            todo += ast.iter_child_nodes(node)


def within(module, package):
    return module == package or module.startswith(f"{package}.")


def calls(tree):
    """(dotted name of what is called, the call)."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


each = pytest.mark.parametrize("path", CORE + MODALITIES, ids=named)


@pytest.mark.parametrize("path", CORE, ids=named)
def test_the_core_imports_no_modality(path):
    tree = parsed(path)
    assert not [module for module in imports(tree) if within(module, "clipx.modalities")]
    strings = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    assert not [text for text in strings if text.startswith("clipx.modalities.")]  # no way around it by name
    if "cli" not in path.relative_to(ROOT).parts and path.name != "__main__.py":
        assert not [module for module in imports(tree) if within(module, "clipx.cli")]


@pytest.mark.parametrize("path", MODALITIES, ids=named)
def test_a_modality_imports_the_core_and_itself_only(path):
    own = ".".join(named(path).split(".")[:3])
    ours = [module for module in imports(parsed(path)) if within(module, "clipx")]
    assert not [m for m in ours if within(m, "clipx.modalities") and not (within(m, own) or m == "clipx.modalities")]
    if not path.name.endswith("command.py"):  # a modality's own commands have the flags and the output of the others
        assert not [m for m in ours if within(m, "clipx.cli")]
    assert not [m for m in ours if within(m, "modalities")]


@each
def test_heavy_packages_are_imported_at_use(path):
    top = {module.split(".")[0] for module in imports_at_top(parsed(path))}
    assert not top & HEAVY


def test_one_file_knows_what_stores_an_index():
    """Another store is another file like it; the index imports this one as its default, and says no more of it."""
    allowed = {"clipx/index/index.py": ["from clipx.index.lance import LanceStore as DefaultStore"]}
    for path in CORE:
        name = path.relative_to(ROOT).as_posix()
        lines = path.read_text(encoding="utf-8").splitlines()
        said = [line for line in lines if re.search("(?<![a-z])lance", line, re.IGNORECASE)]
        assert name == "clipx/index/lance.py" or said == allowed.get(name, []), name


def test_what_is_imported_is_declared():
    """What a dependency happens to bring today, it may drop tomorrow."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = {re.match(r"[\w.-]+", text)[0].replace("-", "_") for text in project["dependencies"]}
    names = {"PIL": "pillow", "open_clip": "open_clip_torch", "skimage": "scikit_image"}
    used = {module.split(".")[0] for path in CORE + MODALITIES for module in imports(parsed(path))}
    used -= sys.stdlib_module_names | {"clipx"}
    assert {names.get(package, package) for package in used} <= declared


@each
def test_nothing_is_unpickled(path):
    tree = parsed(path)
    assert not {m.split(".")[0] for m in imports(tree)} & {
        "pickle",
        "dill",
        "cloudpickle",
        "joblib",
        "shelve",
        "marshal",
    }
    for name, call in calls(tree):
        options = {k.arg: ast.unparse(k.value) for k in call.keywords}
        assert name != "torch.load" or options.get("weights_only") == "True"
        assert not name.endswith("np.load") or options.get("allow_pickle") == "False"
        assert name not in ("eval", "exec") and options.get("allow_pickle", "False") == "False"


@each
def test_the_library_prints_nothing_and_asserts_nothing(path):
    tree = parsed(path)
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.Assert)]
    # the one place that speaks, on stderr, of long work such as a training
    if "cli" not in path.relative_to(ROOT).parts and path.name != "progress.py":
        assert not [name for name, _ in calls(tree) if name == "print" or name.startswith("sys.std")]


@each
def test_public_names_are_documented(path):
    tree = parsed(path)
    assert ast.get_docstring(tree) or not tree.body, "the module says nothing of itself"
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            overloaded = any("overload" in ast.unparse(d) for d in node.decorator_list)
            assert ast.get_docstring(node) or overloaded, f"{node.name} has no docstring"


def test_only_the_default_space_is_named():
    """Code asks for an embedded space by what it provides (``embedded_for``); a new one then needs no other change."""
    from clipx.space import DEFAULT, embedded_names

    others = re.compile(rf"\b({'|'.join(set(embedded_names()) - {DEFAULT})})\b")
    for path in CORE + MODALITIES:
        if (ROOT / "clipx" / "spaces") in path.parents:
            continue
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                assert not others.search(node.value), f"{path}:{node.lineno}: {node.value!r}"


def test_public_names():
    """The inventory: a name that comes or goes is a decision, and this line is where it is taken."""
    assert clipx.__all__ == [
        "ClipxError",
        "Embedding",
        "Index",
        "JointSpace",
        "Modality",
        "Prediction",
        "ZeroShotClassifier",
        "classify",
        "embed",
        "get_modality",
        "list_spaces",
        "load_space",
    ]
    assert all(getattr(clipx, name).__doc__ for name in clipx.__all__)
    assert set(clipx.__all__) <= set(dir(clipx))
    with pytest.raises(AttributeError, match="no attribute 'smell'"):
        _ = clipx.smell


PROBE = """
import json, sys, time
import clipx
alone = sorted(sys.modules)
from clipx.registry import COMMANDS, registered
for point in registered(COMMANDS).values():
    point.load()
commands = sorted(sys.modules)
import torch
start = time.process_time()
for name in [m for m in sys.modules if m.partition(".")[0] == "clipx"]:
    del sys.modules[name]
import clipx
took = time.process_time() - start
before = set(sys.modules)
for name in clipx.__all__:
    getattr(clipx, name)
library = sorted(set(sys.modules) - before)
print(json.dumps({"alone": alone, "commands": commands, "took": took, "library": library}))
"""


def test_import_is_cheap():
    """``import clipx`` costs under 0.3 s of processor beyond torch; commands and names load only what they need."""
    run = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    seen = json.loads(run.stdout)
    assert seen["took"] < 0.3
    assert not {m.split(".")[0] for m in seen["alone"]} & {*HEAVY, "torch", "numpy", "typer"}
    assert not {m.split(".")[0] for m in seen["commands"]} & {*HEAVY - {"rich"}, "torch", "numpy"}  # typer brings rich
    for when in ("alone", "library"):
        assert not [m for m in seen[when] if within(m, "clipx.modalities")]
    modalities = {m for m in seen["commands"] if within(m, "clipx.modalities")}
    assert {m for m in modalities if not any(within(other, m) for other in modalities - {m})} <= {
        m for m in modalities if m.endswith("command")
    }
    assert not {m.split(".")[0] for m in seen["library"]} & HEAVY
