"""A result goes to a hub with its card, and nothing else of the run does."""

from __future__ import annotations

import logging

import pytest
from fake_hub import FAILURES, Hub, failing_with, faked
from handmade_run import build

from smotext_ray.cli.main import main
from smotext_ray.errors import UserError
from smotext_ray.run.card import write_card
from smotext_ray.run.manifest import Manifest
from smotext_ray.run.push import push_result

pytestmark = pytest.mark.usefixtures("own_log")

FILES = {"README.md", "augmented.parquet"}


@pytest.fixture
def run(tmp_path):
    run = build(tmp_path, {"grain": 3})
    write_card(run)
    return run


@pytest.fixture
def hub(tmp_path, monkeypatch):
    return faked(Hub(tmp_path / "downloads"), monkeypatch)


@pytest.fixture
def command(capsys):
    def main_in_one_line(*arguments):
        code = main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        assert (out + err).count("\n") == 1
        return code, out + err

    return main_in_one_line


def test_the_result_and_its_card_go_up_and_nothing_else(hub, run, command):
    code, said = command("push", run.uri, "me/tickets")
    assert code == 0 and 'load_dataset("me/tickets")' in said and "private" in said
    assert set(hub.files["me/tickets"]) == FILES
    for name, content in hub.files["me/tickets"].items():
        assert content == run.read(name)
    assert hub.private == {"me/tickets": True} and hub.kinds == {"dataset"}


def test_a_large_result_goes_up_in_its_files(hub, tmp_path, monkeypatch):
    monkeypatch.setattr("smotext_ray.run.result.LARGE", 1)
    monkeypatch.setattr("smotext_ray.run.result.ROWS_PER_FILE", 4)
    run = build(tmp_path / "large", {"grain": 3})
    write_card(run)
    push_result(run, "me/tickets")
    names = set(hub.files["me/tickets"])
    assert names == {"README.md", *Manifest.read(run).result.sha256} and len(names) > 2
    assert b"augmented/*.parquet" in hub.files["me/tickets"]["README.md"]


def test_it_is_public_on_request_alone(hub, run, command):
    code, said = command("push", run.uri, "tickets", "--public")
    assert code == 0 and "in a public repository" in said and hub.private == {"me/tickets": False}
    code, said = command("push", run.uri, "tickets")
    assert code == 2 and "is public" in said


def test_a_result_without_a_card_stays(hub, run, command):
    run.fs.delete_file(run.at("README.md"))
    code, said = command("push", run.uri, "me/tickets")
    assert code == 2 and f"smotext card {run.uri}" in said and not hub.files


def test_a_card_of_an_earlier_result_is_refused(hub, run, command):
    manifest = Manifest.read(run)
    manifest.result.sha256 = {"augmented.parquet": "0" * 64}
    manifest.save(run)
    code, said = command("push", run.uri, "me/tickets")
    assert code == 2 and "another result" in said and "--overwrite" in said and not hub.files


def test_a_result_that_was_changed_is_refused(hub, run, command):
    run.write(b"something else", "augmented.parquet")
    code, said = command("push", run.uri, "me/tickets")
    assert code == 2 and "has changed since the run wrote it" in said and not hub.files


def test_a_card_that_its_owner_has_added_to_goes_up(hub, run):
    run.write(run.read("README.md") + b"\nBy me.\n", "README.md")
    push_result(run, "me/tickets")
    assert hub.files["me/tickets"]["README.md"].endswith(b"By me.\n")


@pytest.mark.parametrize(("error", "reason"), FAILURES, ids=lambda value: type(value).__name__)
def test_each_failure_of_the_hub_is_one_sentence(monkeypatch, run, command, error, reason):
    failing_with(monkeypatch)(error)
    code, said = command("push", run.uri, "me/tickets")
    assert code == 2 and reason in said and "The result cannot be uploaded to me/tickets" in said


def test_no_run_and_no_result_are_told(hub, tmp_path, command):
    assert command("push", tmp_path / "nothing", "me/x")[0] == 2
    begun = build(tmp_path / "begun", {"grain": 2}, until="decode")
    code, said = command("push", begun.uri, "me/x")
    assert code == 2 and "has no result yet" in said and not hub.files


def test_a_token_is_in_no_file_and_no_log(hub, run, caplog, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_from_the_environment")
    with caplog.at_level(logging.DEBUG):
        push_result(run, "me/tickets", token="hf_secret")
    assert hub.tokens == {"hf_secret"} and "hf_" not in caplog.text
    files = [f for f in run.fs.get_file_info(selector(run)) if f.is_file]
    for file in files:
        with run.fs.open_input_stream(file.path) as stream:
            assert b"hf_" not in stream.read()


def selector(run):
    from pyarrow.fs import FileSelector

    return FileSelector(run.path, recursive=True)


def test_offline_the_real_library_refuses_with_a_sentence(run):
    with pytest.raises(UserError, match="HF_HUB_OFFLINE is set"):
        push_result(run, "me/tickets")


@pytest.mark.parametrize("name", ["{victim}", "../{name}", "augmented/../../{name}", ".netrc"])
def test_a_manifest_of_someone_else_names_no_file_outside_the_run(
    hub, run, tmp_path, command, name
):
    victim = tmp_path / "victim"
    victim.write_text("mine")
    name = name.format(victim=victim, name=victim.name)
    content = run.read("manifest.json").replace(b'"augmented.parquet":', f'"{name}":'.encode())
    run.write(content, "manifest.json")
    write_next_to(run, name, b"evil")
    code, said = command("push", run.uri, "me/tickets")
    assert code == 2 and "which no run writes" in said
    assert victim.read_text() == "mine" and not hub.files


def test_a_result_is_only_made_of_the_files_that_a_run_writes(hub, run, command):
    content = run.read("manifest.json").replace(b'"augmented.parquet":', b'"lease/notes":')
    run.write(content, "manifest.json")
    run.write(b"private", "lease", "notes")
    write_card(run, overwrite=True)
    code, said = command("push", run.uri, "me/tickets")
    assert code == 2 and "as a file of the result" in said and not hub.files


def write_next_to(run, name, content):
    """What the name leads to if it is joined to the run's path as it is."""
    from pathlib import Path

    path = Path(f"{run.path}/{name}").resolve()
    if path.is_relative_to(run.path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
