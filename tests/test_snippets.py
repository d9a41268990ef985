"""What the documents tell a user to type: commands parse, Python runs, and links lead somewhere."""

from __future__ import annotations

import ast
import contextlib
import io
import re
import shlex
from pathlib import Path

import pytest
from fake_stages import Encoder

from smotext_ray.api import sampler as sampler_module
from smotext_ray.cli.main import _options
from smotext_ray.config.load import load_config
from smotext_ray.models.engine import Candidates

ROOT = Path(__file__).parent.parent
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")),
    *sorted((ROOT / "docs").glob("*.md")),
    ROOT / "benchmarks" / "README.md",
]
IDS = [str(page.relative_to(ROOT)) for page in PAGES]


def blocks(page: Path) -> list[str]:
    """The indented blocks of a page, each without its indent."""
    found = re.findall(r"(?:^(?: {4}.*)?\n)+", page.read_text() + "\n", re.MULTILINE)
    kept = (re.sub(r"^ {4}", "", block, flags=re.MULTILINE).strip("\n") for block in found)
    return [block for block in kept if block]


def commands(page: Path) -> list[list[str]]:
    """Every line of a shell, words split, comments and what is piped to it left out."""
    lines = "\n".join(blocks(page)).replace("\\\n", " ").splitlines()
    found = []
    for line in lines:
        with contextlib.suppress(ValueError):  # prose in a block, with an apostrophe
            words = shlex.split(line, comments=True)
            while "|" in words:
                words = words[words.index("|") + 1 :]
            while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
                words = words[1:]
            if words:
                found.append(words)
    return found


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_every_command_of_smotext_has_the_options_that_are_there(page):
    for words in commands(page):
        if words[0] not in ("smotext", ".venv/bin/smotext") or len(words) < 2:
            continue
        # "..." stands for what was said before.
        given = [word for word in words[1:] if word != "..."]
        options = _options(given)
        for override in getattr(options, "overrides", None) or []:
            load_config("offline", overrides=[override])


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_scripts_and_targets_that_are_run_are_there(page):
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for words in commands(page):
        if words[0] == "make":
            named = [word for word in words[1:] if re.fullmatch(r"[a-z][a-z-]*", word)]
            assert set(named) <= set(targets), words
        for place, word in enumerate(words[:-1]):
            script = words[place + 1]
            if word.endswith("python") and script.endswith(".py"):
                assert (ROOT / script).is_file(), script


def python_blocks(page: Path) -> list[str]:
    return [block for block in blocks(page) if re.match(r"(from|import) \w", block)]


@pytest.mark.parametrize("page", [p for p in PAGES if python_blocks(p)], ids=lambda p: p.name)
def test_what_is_imported_is_there(page):
    for block in python_blocks(page):
        if "matplotlib" in block:
            pytest.importorskip("matplotlib")
        tree = ast.parse(block)
        imports = [node for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom))]
        exec(compile(ast.Module(imports, []), str(page), "exec"), {})


class Decoder:
    def decode(self, points, seeds):
        return [Candidates([f"a new text {seed}"], ["stop"], [4]) for seed in seeds]


def test_the_python_of_the_readme_runs(monkeypatch):
    monkeypatch.setattr(sampler_module, "encoder_of", lambda config: Encoder())
    monkeypatch.setattr(sampler_module, "decoder_of", lambda config: Decoder())
    given = {"gate.min_cosine": -1, "gate.same_class": False}
    monkeypatch.setattr(
        sampler_module,
        "config_of",
        lambda sampler, read=sampler_module.config_of: load_config(
            options=given, base=read(sampler)
        ),
    )
    (block,) = python_blocks(ROOT / "README.md")
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        exec(compile(block, "README.md", "exec"), {})
    lines = said.getvalue().splitlines()
    assert [line.startswith("a new text") for line in lines] == [True, True, False, False, False]
    assert lines[2].split() == ["source_id", "neighbor_id", "lam", "cosine_to_point"]


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_links_lead_to_files_and_headings(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if re.match(r"\w+:", target):
            continue
        path, _, heading = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), target
        if heading:
            text = file.read_text()
            titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
            named = re.findall(r'<a id="(.+?)">', text)
            assert heading in {*map(anchor, titles), *named}, target


def anchor(title: str) -> str:
    """A heading's anchor, as mkdocs and the forges make it."""
    plain = re.sub(r"[^\w\s-]", "", title.replace("`", "").lower())
    return re.sub(r"[\s-]+", "-", plain).strip("-")


def test_the_readme_is_short():
    words = (ROOT / "README.md").read_text().split()
    assert sum(any(c.isalnum() for c in word) for word in words) <= 1100
