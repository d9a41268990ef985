"""What a stranger's input or run may hold: names that look like paths, and code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from handmade_run import build, corpus_table

import smotext_ray
from smotext_ray.config.load import _Loader
from smotext_ray.run.directory import Run
from smotext_ray.run.verify import verify

PACKAGE = Path(smotext_ray.__file__).parent
# Of these, code in a file would be run.
LOADERS = re.compile(
    r"^\s*(?:import|from) (?:pickle|joblib|dill|shelve|marshal)\b|unsafe_load"
    r"|trust_remote_code(?:=|\": )(?!False\b)|allow_pickle(?!=False)"
    r"|yaml\.load\((?!.*, _Loader\)$)|torch\.load\((?![^)]*weights_only=True)"
    r"|(?<![.\w])(?:eval|exec)\(",
    re.MULTILINE,
)


@pytest.mark.parametrize(
    "label", ["../../outside", "/etc/outside", "a\x00b", "..", "s3://b/outside"]
)
def test_a_label_is_no_path(tmp_path, label):
    home = tmp_path / "deep" / "er" / "home"
    run = build(home, {label: 2}, corpus=corpus_table(label_of={"grain": label}))
    assert all(finding.ok for finding in verify(Run(run.uri)))
    assert [
        path for path in tmp_path.rglob("*") if not path.is_relative_to(tmp_path / "deep")
    ] == []
    assert {path.name for path in (tmp_path / "deep" / "er").iterdir()} == {"home"}
    names = [path.name for path in home.rglob("*")]
    assert not any("outside" in name or "\x00" in name for name in names)


def test_nothing_is_read_that_can_hold_code():
    found = {
        str(file.relative_to(PACKAGE)): LOADERS.findall(file.read_text())
        for file in PACKAGE.rglob("*.py")
    }
    assert {file: words for file, words in found.items() if words} == {}
    assert issubclass(_Loader, yaml.SafeLoader)
