"""The rules of the house, read from the source: who imports whom, what is cheap to import, what is never used."""

import ast
import json
import re
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path

import pytest

import clipx

ROOT = Path(__file__).parents[1]
CORE = sorted((ROOT / "clipx").rglob("*.py"))
MODALITIES = sorted((ROOT / "modalities").rglob("*.py"))
HEAVY = {
    *("lance", "matplotlib", "numba", "open3d", "open_clip", "PIL", "pyarrow", "ray", "rich", "safetensors"),
    *("pycocotools", "scipy", "skimage", "soundfile", "timm", "torchaudio", "torchvision", "transformers", "trimesh"),
}


EXPORTING = {f"clipx.backends.{name}" for name in ("export", "external", "int8", "trace")}  # use what an extra brings


SERVING = {"clipx.cli.serve", *(f"clipx.serve.{name}" for name in ("openapi", "routes", "schemas", "security"))}


def named(path):
    """The module that a file is: modalities/image/__init__.py -> clipx.modalities.image."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    parts = ("clipx", *parts) if parts[0] == "modalities" else parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
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


# Rules: (path, tree) -> what breaks them. One test each, which names every file at fault.


def is_command(path):
    """Whether a file is part of the command line: it may print, and import typer and rich."""
    return "cli" in path.relative_to(ROOT).parts or path.name.endswith(("command.py", "__main__.py"))


def core_names_no_modality(path, tree):
    found = [module for module in imports(tree) if within(module, "clipx.modalities")]
    strings = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    found += [text for text in strings if text.startswith("clipx.modalities.")]  # no way around it by name
    return found + ([] if is_command(path) else [m for m in imports(tree) if within(m, "clipx.cli")])


def modality_imports_core_and_itself(path, tree):
    own = ".".join(named(path).split(".")[:3])
    ours = list(imports(tree))
    found = [m for m in ours if within(m, "clipx.modalities") and not (within(m, own) or m == "clipx.modalities")]
    found += [m for m in ours if within(m, "clipx.cli") and not is_command(path)]
    return found + [m for m in ours if within(m, "modalities")]


def heavy_packages_at_use(path, tree):
    return sorted({module.split(".")[0] for module in imports_at_top(tree)} & HEAVY)


def no_interface_in_the_library(path, tree):
    return [m for m in imports(tree) if m.split(".")[0] in ("typer", "rich") and not is_command(path)]


PICKLES = {"pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}


def nothing_unpickled(path, tree):
    found = [m for m in imports(tree) if m.split(".")[0] in PICKLES]
    for name, call in calls(tree):
        options = {k.arg: ast.unparse(k.value) for k in call.keywords}
        if name == "torch.load" and options.get("weights_only") != "True":
            found.append(name)
        if name.endswith("np.load") and options.get("allow_pickle") != "False":
            found.append(name)
        if name in ("eval", "exec") or options.get("allow_pickle", "False") != "False":
            found.append(name)
    return found


def library_prints_and_asserts_nothing(path, tree):
    found = ["assert" for node in ast.walk(tree) if isinstance(node, ast.Assert)]
    if "cli" in path.relative_to(ROOT).parts or path.name == "progress.py":  # which reports long work on stderr
        return found
    return found + [name for name, _ in calls(tree) if name == "print" or name.startswith("sys.std")]


def public_names_documented(path, tree):
    found = [] if ast.get_docstring(tree) or not tree.body else ["the module"]
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            overloaded = any("overload" in ast.unparse(d) for d in node.decorator_list)
            found += [] if ast.get_docstring(node) or overloaded else [node.name]
    return found


RULES = [
    (core_names_no_modality, CORE, "import clipx.modalities.audio"),
    (core_names_no_modality, CORE, "name = 'clipx.modalities.audio'"),
    (core_names_no_modality, CORE, "from clipx.cli import main"),
    (modality_imports_core_and_itself, MODALITIES, "from clipx.modalities.image import Image"),
    (modality_imports_core_and_itself, MODALITIES, "import clipx.cli"),
    (heavy_packages_at_use, CORE + MODALITIES, "if True:\n    import scipy.sparse"),
    (no_interface_in_the_library, CORE + MODALITIES, "def f():\n    import rich"),
    (nothing_unpickled, CORE + MODALITIES, "torch.load(path)"),
    (nothing_unpickled, CORE + MODALITIES, "np.load(path)"),
    (nothing_unpickled, CORE + MODALITIES, "from joblib import load"),
    (library_prints_and_asserts_nothing, CORE + MODALITIES, "def f():\n    print(1)"),
    (library_prints_and_asserts_nothing, CORE + MODALITIES, "assert True"),
    (public_names_documented, CORE + MODALITIES, "def f(): ..."),
]


@pytest.mark.parametrize(("rule", "paths"), {rule: (rule, paths) for rule, paths, _ in RULES}.values())
def test_every_file_keeps_the_rule(rule, paths):
    found = {named(path): rule(path, parsed(path)) for path in paths}
    assert {name: faults for name, faults in found.items() if faults} == {}


@pytest.mark.parametrize(("rule", "paths", "code"), RULES)
def test_a_file_that_breaks_the_rule_is_named(rule, paths, code):
    assert rule(ROOT / ("clipx" if paths[0] in CORE else "modalities/sketch") / "new.py", ast.parse(code))


def test_imports_make_no_circle():
    """Between the modules of the core and of the modalities, functions' own imports included."""
    modules = {named(path): path for path in CORE + MODALITIES if not is_command(path)}
    needs = {name: {m for m in imports(parsed(path)) if m in modules} - {name} for name, path in modules.items()}
    needs["clipx"] = set()  # its names are resolved at first use
    while free := [name for name, wanted in needs.items() if not wanted & set(needs)]:
        for name in free:
            del needs[name]
    assert needs == {}


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
    names = {"PIL": "pillow", "lance": "pylance", "open_clip": "open_clip_torch"}
    names |= {"skimage": "scikit_image", "sklearn": "scikit_learn"}
    extras = {
        name: {re.match(r"[\w.-]+", text)[0].replace("-", "_") for text in project["optional-dependencies"][extra]}
        for names, extra in (
            (EXPORTING, "export"),
            ({"clipx.modalities.detect.evaluate"}, "detect"),
            ({"clipx.modalities.detect.hub"}, "hub"),
            ({"clipx.index.ray_engine"}, "ray"),
            ({"clipx.fewshot.estimator"}, "sklearn"),
            (SERVING, "serve"),
            ({"clipx.mcp_server"}, "mcp"),
        )
        for name in names
    }
    for path in CORE + MODALITIES:
        used = {module.split(".")[0] for module in imports(parsed(path))} - sys.stdlib_module_names - {"clipx"}
        allowed = declared | extras.get(named(path), set())
        assert {names.get(package, package) for package in used} <= allowed, path


def test_only_the_default_space_is_named():
    """Code asks for an embedded space by what it provides (``embedded_for``); a new one then needs no other change."""
    from clipx.spaces.embedded import embedded_names
    from clipx.spaces.loading import DEFAULT

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
        "export",
        "get_modality",
        "list_spaces",
        "load_space",
        "optimise",
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
