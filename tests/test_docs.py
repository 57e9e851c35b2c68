"""The pages: every link leads somewhere, every command line is one that clipx takes, and the site builds."""

import json
import os
import re
import shlex
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    [
        ROOT / "README.md",
        ROOT / "CHANGELOG.md",
        ROOT / "CONTRIBUTING.md",
        *ROOT.glob("docs/**/*.md"),
        *ROOT.glob("clipx/spaces/*/README.md"),
        *ROOT.glob("modalities/*/towers/*/README.md"),
        *ROOT.glob("modalities/*/fits/*/README.md"),
    ]
)
FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)


def name_of(path):
    return path.relative_to(ROOT).as_posix()


def prose(text):
    """Without code, in which brackets are no links and signs no headings."""
    return INLINE.sub("``", FENCE.sub("", COMMENT.sub("", text)))


def anchors(path):
    """The anchors of a page's headings, as GitHub and mkdocs both make them of plain ones."""
    found = set()
    text = FENCE.sub("", COMMENT.sub("", path.read_text(encoding="utf-8")))
    for heading in re.findall(r"^#{1,6} +(.+?) *#*$", text, re.MULTILINE):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").strip().lower()
        found.add(re.sub(r" ", "-", re.sub(r"[^\w\- ]", "", words)))
    return found


def test_links_lead_somewhere():
    lost = []
    for page in PAGES:
        for link in LINK.findall(prose(page.read_text(encoding="utf-8"))):
            if re.match(r"[a-z]+:", link):
                continue  # another site
            path, _, anchor = link.partition("#")
            target = (page.parent / path).resolve() if path else page
            here = target.is_relative_to(ROOT) and target.exists()
            if not here or (anchor and (target.suffix != ".md" or anchor not in anchors(target))):
                lost.append((name_of(page), link))
    assert not lost


def test_pages_of_the_site_are_in_its_navigation():
    """mkdocs.yml names every page; what is made of other files, the hook lists."""
    named = set(re.findall(r"[\w/-]+\.md", (ROOT / "mkdocs.yml").read_text(encoding="utf-8")))
    assert named == {page.relative_to(ROOT / "docs").as_posix() for page in ROOT.glob("docs/**/*.md")}


# Command lines --------------------------------------------------------------------------------------------------------


def command_lines(text):
    """(words behind ``clipx``, whether it is a whole line to be typed) of a page."""
    text = COMMENT.sub("", text)
    for language, block in FENCE.findall(text):
        if language not in ("sh", "bash", "console", ""):
            continue
        for line in block.replace("\\\n", " ").splitlines():
            for part in split(line):
                if part and part[0].rpartition("/")[2] == "clipx":
                    yield part[1:], True
    for code in INLINE.findall(FENCE.sub("", text)):
        if code.startswith("clipx ") and not code.startswith("clipx --"):
            for part in split(code):
                yield part[1:], False


def split(line):
    """A line of a shell -> the words of its commands."""
    lexer = shlex.shlex(line.removeprefix("$ "), posix=True, punctuation_chars="|&;<>")
    lexer.whitespace_split, lexer.commenters = True, "#"
    commands = [[]]
    for word in lexer:
        if set(word) <= set("|&;<>"):
            commands.append([])
        else:
            commands[-1].append(word)
    return commands


@cache
def command_of(words):
    """Of at most two words behind ``clipx``: the command's name, the command, and what is left of the words."""
    from typer.main import get_command

    from clipx.cli import app

    return get_command(app).resolve_command(None, list(words))


def resolve(words):
    """Words behind ``clipx`` -> the command that they ask for, its path, and its own words."""
    name, command, rest = command_of(tuple(words[:2]))
    rest = [*rest, *words[2:]]
    while rest and (below := getattr(command, "commands", None)) and rest[0] in below:
        name, command, rest = f"{name} {rest[0]}", below[rest[0]], rest[1:]
    return name, command, rest


def fault(words, whole):
    """What is wrong with a command line, or None. Nothing is run."""
    try:
        name, command, rest = resolve(words)
        if getattr(command, "commands", None):
            return None if not whole and not rest else f"{name} needs a command"
        if whole:
            command.make_context(f"clipx {name}", list(rest))
            return None
        flags = {flag for option in command.params for flag in (*option.opts, *option.secondary_opts)} | {"--help"}
        unknown = [word for word in rest if re.match(r"--?[a-z]", word) and word.partition("=")[0] not in flags]
        return f"{name} has no {', '.join(unknown)}" if unknown else None
    except Exception as error:  # click's own, of whichever click typer uses, and clipx's
        return f"{type(error).__name__}: {getattr(error, 'message', None) or error}"


def test_command_lines_are_taken(here):
    faults = {}
    for page in PAGES:
        for words, whole in command_lines(page.read_text(encoding="utf-8")):
            if (what := fault(words, whole)) is not None:
                faults[name_of(page), " ".join(words)] = what
    assert not faults


def test_a_wrong_command_line_is_seen(here):
    assert fault(["classify", "a.ply", "--labels", "a", "--no-such-flag"], True)
    assert fault(["no-such-command"], False) and fault(["train"], True)
    assert fault(["classify", "--no-such-flag"], False)
    assert fault(["depth", "a.png", "--unit", "miles"], True)
    assert fault(["train", "audio", "sounds", "--space", "nano"], True) is None
    assert [words for words, _ in command_lines("```sh\nA=1 && clipx embed a -o b # c\n```\n`clipx index`")] == [
        ["embed", "a", "-o", "b"],
        ["index"],
    ]


# The site -------------------------------------------------------------------------------------------------------------


def test_the_site_builds_and_asks_the_network_for_nothing(tmp_path):
    pytest.importorskip("mkdocs")
    pytest.importorskip("mkdocstrings")
    site = tmp_path / "site"
    line = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(site)]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, env=os.environ | {"NO_MKDOCS_2_WARNING": "1"})
    assert done.returncode == 0, done.stdout + done.stderr
    asked = re.compile(r"<(?:script|img|iframe)[^>]+src=[\"']?(https?:|//)|<link[^>]+href=[\"']?(https?:|//)")
    for page in site.rglob("*.html"):
        assert not asked.search(page.read_text(encoding="utf-8")), page
    assert "doc-heading" in (site / "api" / "core.html").read_text(encoding="utf-8")
    assert json.loads((site / "openapi.json").read_text(encoding="utf-8"))["openapi"].startswith("3.1")
    assert (site / "cards" / "lite.html").is_file() and (site / "examples" / "few_shot.html").is_file()


# What the README shows ------------------------------------------------------------------------------------------------

SHOWN = re.compile(r"^```sh\n([^`]*?)^```\n\n```text\n([^`]*?)^```", re.MULTILINE)


def cells(lines, apart):
    """Lines of a table as lists of cells; what is a number as one, percent signs and all left aside."""
    number = re.compile(r"-?[\d.]+%?")
    return [
        [float(cell.rstrip("%")) if number.fullmatch(cell) else cell for cell in re.split(apart, line.strip())]
        for line in lines.strip().splitlines()
    ]


@pytest.mark.parametrize("commands, output", SHOWN.findall((ROOT / "README.md").read_text(encoding="utf-8")))
def test_the_readme_shows_what_its_commands_print(commands, output, run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.setenv("CLIPX_SPACE", "lite")
    for command in commands.strip().splitlines():
        status, printed, err = run(command.removeprefix("clipx "))
        assert status == 0, err
    for line, promised in zip(cells(printed, "\t"), cells(output, "  +"), strict=True):
        for cell, said in zip(line, promised, strict=True):
            assert cell == (said if isinstance(said, str) else pytest.approx(said, abs=0.5 if said >= 1 else 0.005))
