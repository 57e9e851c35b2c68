"""What the pages need of the repository outside this folder, for ``mkdocs build``.

- Model cards, the change log and the examples become pages where they stand: there is no second copy to fall behind.
- Links to those files lead to these pages. Other files of the repository are shown as they are.
- The JSON API of ``clipx serve`` becomes openapi.json, made of the code.
- mkdocstrings reads clipx as it is installed, with modalities/ inside it, from a copy made for the build.
"""

from __future__ import annotations

import atexit
import json
import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

from mkdocs.plugins import event_priority
from mkdocs.structure.files import File

from clipx.serve.openapi import document

ROOT = Path(__file__).parents[1]
LINK = re.compile(r"(?<=\]\()([^)#\s:]+)(#[^)\s]*)?(?=\))")  # of [text](path#anchor), but none with a scheme


def outside() -> dict[Path, str]:
    """File of the repository -> the page that it becomes."""
    pages = {ROOT / "CHANGELOG.md": "changelog.md", ROOT / "tests/toy_modality/clipx_toy.py": "examples/clipx_toy.md"}
    pages |= {path: f"cards/{path.parent.name}.md" for path in sorted(ROOT.glob("clipx/spaces/*/README.md"))}
    pages |= {
        path: f"cards/audio-{path.parent.name}.md" for path in sorted(ROOT.glob("modalities/*/towers/*/README.md"))
    }
    pages |= {path: f"cards/depth-{path.parent.name}.md" for path in sorted(ROOT.glob("modalities/*/fits/*/README.md"))}
    pages |= {path: f"examples/{path.stem}.md" for path in sorted((ROOT / "examples").glob("*.py"))}
    return pages


@event_priority(50)  # before mkdocstrings reads its settings
def on_config(config: Any) -> Any:
    """The pages from outside are listed last."""
    pages = list(outside().values())
    for title in ("Cards", "Examples"):
        config.nav.append({title: [page for page in pages if page.startswith(f"{title.lower()}/")]})
    config.nav.append("changelog.md")
    sources = Path(tempfile.mkdtemp(prefix="clipx-docs-"))
    ignore = shutil.ignore_patterns("__pycache__", "*.safetensors")
    shutil.copytree(ROOT / "clipx", sources / "clipx", ignore=ignore)
    shutil.copytree(ROOT / "modalities", sources / "clipx" / "modalities", ignore=ignore)
    atexit.register(shutil.rmtree, sources, ignore_errors=True)
    config.plugins["mkdocstrings"].config["handlers"]["python"]["paths"] = [str(sources)]
    return config


def on_files(files: Any, config: Any) -> Any:
    for path, page in outside().items():
        files.append(File.generated(config, page, content=as_page(path)))
    files.append(File.generated(config, "openapi.json", content=json.dumps(document(), indent=1)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Links out of the folder of pages lead to what stands for their files here."""
    pages = outside()
    written = {name: path for path, name in pages.items()}
    here = written.get(page.file.src_uri, ROOT / "docs" / page.file.src_uri).parent

    def lead(match: re.Match[str]) -> str:
        target = Path(os.path.normpath(here / match[1]))
        if target.is_relative_to(ROOT / "docs") and not target.is_dir():
            name = target.relative_to(ROOT / "docs").as_posix()
        elif target in pages:
            name = pages[target]
        elif target == ROOT / "README.md":
            name = "index.md"
        else:  # a folder, or a file that is read where it lies
            return "#"
        return os.path.relpath(name, Path(page.file.src_uri).parent).replace(os.sep, "/") + (match[2] or "")

    return LINK.sub(lead, markdown)


def as_page(path: Path) -> str:
    """A Markdown file as it is; a Python file under its name."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".md":
        return text
    return f"# {path.stem.replace('_', ' ')}\n\n`{path.relative_to(ROOT).as_posix()}`\n\n```python\n{text}```\n"
