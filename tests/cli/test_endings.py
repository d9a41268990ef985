"""How commands end when the user, the terminal or the cluster's address is the cause."""

import io
import os
import socket
import sys
import time

import pytest
import yaml

from smotext_ray.cli.failures import users_error
from smotext_ray.cli.main import main
from smotext_ray.cluster.session import check_address
from smotext_ray.config.load import load_config
from smotext_ray.errors import UserError

pytestmark = pytest.mark.usefixtures("own_log")

CSV = "text,label\none,a\ntwo,a\nthree,b\nfour,b\n"


@pytest.fixture
def corpus(tmp_path):
    (tmp_path / "c.csv").write_text(CSV)
    return str(tmp_path / "c.csv")


def refused(capsys, *arguments):
    assert main(arguments) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1 and "resume" not in message
    return message


def test_a_misspelled_command_is_corrected(capsys):
    assert "did you mean 'augment'" in refused(capsys, "agument", "--input", "x")


def test_missing_options_are_named_together(capsys, corpus):
    message = refused(capsys, "augment")
    assert "--input" in message and "--output" in message
    assert "--input" not in refused(capsys, "augment", "--input", corpus)
    assert "--output" not in refused(capsys, "augment", "--dry-run")


@pytest.mark.parametrize("command", ["augment", "embed"])
def test_a_dry_run_writes_nothing(capsys, tmp_path, corpus, command):
    run = tmp_path / "run"
    assert main([command, "--input", corpus, "--output", str(run), "--dry-run"]) == 0
    assert "Nothing was written" in capsys.readouterr().out and not run.exists()


def test_a_dry_run_refuses_the_output_that_the_run_would_refuse(capsys, tmp_path, corpus):
    where = ("--input", str(tmp_path), "--output", str(tmp_path / "run"))
    assert "is inside the input" in refused(capsys, "augment", *where, "--dry-run")


def test_look_alikes_are_noted(capsys, tmp_path):
    (tmp_path / "c.csv").write_text("text,label\none,spam\ntwo,Spam\nthree,spam \nfour,spam\n")
    main(
        ["augment", "--input", str(tmp_path / "c.csv"), "--dry-run", "--on-singleton-class", "skip"]
    )
    assert "The classes 'Spam', 'spam', 'spam ' differ only in" in " ".join(
        capsys.readouterr().out.split()
    )


def test_the_settings_can_be_printed_and_read_again(capsys, tmp_path, corpus):
    given = (
        "--input",
        corpus,
        "--seed",
        "7",
        "input.delimiter=tab",
        "--sampling-strategy",
        '{"no": 5}',
    )
    assert main(["augment", *given, "--print-config"]) == 0
    printed = capsys.readouterr().out
    assert yaml.safe_load(printed)["plan"]["seed"] == 7
    (tmp_path / "c.yaml").write_text(printed)
    again = load_config(file=str(tmp_path / "c.yaml"))
    assert again.plan.sampling_strategy == {"no": 5} and again.input.delimiter == "\t"


def test_a_terminal_that_cannot_show_a_character(monkeypatch, tmp_path):
    (tmp_path / "c.csv").write_text(CSV.replace(",a", ",日本"), encoding="utf-8")
    shown = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", shown)
    assert main(["augment", "--input", str(tmp_path / "c.csv"), "--dry-run"]) == 0
    shown.flush()
    assert b"\\u65e5" in shown.buffer.getvalue()


def test_an_error_of_the_path_is_the_users():
    error = PermissionError(13, "Permission denied", "/data/run")
    assert users_error(error) == "/data/run cannot be used (Permission denied); check the path."
    assert users_error(OSError(28, "No space left on device", "/data/run")) is None


# The cluster's address


@pytest.mark.parametrize(
    "address",
    ["http://127.0.0.1:8265", "ray://127.0.0.1:10001", "127.0.0.1", "head:port", "h:99999"],
)
def test_an_address_in_a_wrong_form(address):
    with pytest.raises(UserError, match=f"'{address}' of the Ray cluster is not host:port"):
        check_address(address)


def test_an_address_without_an_answer_is_refused_at_once():
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{bound.getsockname()[1]}"
        started = time.monotonic()
        with pytest.raises(UserError, match=f"No Ray cluster answers at '{address}'"):
            check_address(address)
        assert time.monotonic() - started < 5


def test_the_address_may_be_an_option(capsys, monkeypatch, tmp_path, corpus):
    monkeypatch.setenv("RAY_ADDRESS", "")
    where = ("--input", corpus, "--output", str(tmp_path / "run"))
    message = refused(capsys, "augment", *where, "--address", "http://head:8265")
    assert "'http://head:8265'" in message
    assert os.environ["RAY_ADDRESS"] == "http://head:8265" and not (tmp_path / "run").exists()
    # Before the corpus is read: it is not even looked for.
    missing = ("--input", "none.csv", "--output", str(tmp_path / "run"))
    assert "'http://head:8265'" in refused(capsys, "augment", *missing)
    assert main(["augment", "--input", corpus, "--dry-run"]) == 0
