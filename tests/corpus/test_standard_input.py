"""An input that is piped in: read once, kept where no other user finds it, and read like a file."""

from __future__ import annotations

import gzip
import io
import os
import sys

import pytest
from fake_run import HERE, fake_config, fakes_told

from smotext_ray.cli.main import main
from smotext_ray.config.schema import InputConfig
from smotext_ray.corpus.sources import read_blocks
from smotext_ray.corpus.standard_input import spooled
from smotext_ray.corpus.survey import survey_corpus
from smotext_ray.errors import UserError
from smotext_ray.pipeline import rounds
from smotext_ray.pipeline.expand import ExpansionRequest, expand

LINES = b'{"text": "wheat rose", "label": "grain"}\n{"text": "a vessel sank", "label": "ship"}\n'
ROWS = [("corn a", "corn"), ("corn b", "corn"), ("ship a", "ship"), ("ship b", "ship")]
CSV = ("text,label\n" + "".join(f"{text},{label}\n" for text, label in ROWS)).encode()


@pytest.fixture
def piped(monkeypatch):
    def pipe(content: bytes) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))

    return pipe


def read(**options):
    found = list(read_blocks(InputConfig(path="-", **options)))
    return [row for block in found for row in block.table.to_pylist()]


@pytest.mark.parametrize(
    "content, options",
    [
        (b"text,label\nwheat rose,grain\na vessel sank,ship\n", {}),
        (b"text;label\nwheat rose;grain\na vessel sank;ship\n", {}),
        (b"wheat rose\tgrain\na vessel sank\tship\n", {"format": "tsv", "header": False}),
        (LINES, {}),
        (gzip.compress(LINES), {}),
        (LINES.decode().encode("utf-16"), {}),
        (b"\n\n" + LINES, {"format": "jsonl"}),
    ],
    ids=["csv", "semicolons", "told", "lines", "packed", "UTF-16", "told lines"],
)
def test_every_format_of_text_is_read_twice(piped, content, options):
    piped(content)
    columns = ("text", "label") if "header" not in options else ("column_1", "column_2")
    named = {"text_column": columns[0], "label_column": columns[1]}
    for _ in range(2):
        rows = [tuple(row[name] for name in columns) for row in read(**options, **named)]
        assert rows == [("wheat rose", "grain"), ("a vessel sank", "ship")]


def test_the_copy_has_no_name_and_one_reader(piped, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    piped(LINES)
    path = spooled()
    assert spooled() == path
    assert list(tmp_path.iterdir()) == []
    assert os.stat(path).st_nlink == 0 and os.stat(path).st_mode & 0o077 == 0


@pytest.mark.parametrize(
    "content, sentence",
    [
        (b"", "The standard input is empty"),
        (b"text,topic\na,b\n", "standard input has no column 'label'"),
        (b"text,label\n", "standard input has no rows"),
        (b"text,label\na,b\nc,b\n", "All rows of standard input are of one class"),
        (b'{"text": 1}\n{"text": \n', "Line 2 of standard input is not JSON"),
        (b"PAR1....", "standard input is a parquet file; give it a name"),
        (b"text,label\na,b\nc,d\n\xff,d\n", "standard input is not UTF-8 in line 4"),
    ],
)
def test_messages_speak_of_standard_input(piped, content, sentence):
    piped(content)
    with pytest.raises(UserError) as caught:
        survey_corpus(InputConfig(path="-"))
    assert sentence in str(caught.value) and "/proc" not in str(caught.value)


def test_a_terminal_is_not_waited_for(monkeypatch):
    terminal = io.TextIOWrapper(io.BytesIO(LINES))
    terminal.isatty = lambda: True
    monkeypatch.setattr(sys, "stdin", terminal)
    with pytest.raises(UserError, match=r"^Nothing is piped into standard input; "):
        spooled()
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(UserError, match="Nothing is piped"):
        spooled()


@pytest.mark.usefixtures("own_log")
def test_the_command_line_reads_it(piped, capsys, tmp_path):
    piped("ä sehr gut\tja\nä nicht gut\tnein\n".encode("cp1252"))
    arguments = ["augment", "--input", "-", "--input-format", "tsv", "--dry-run", "input.header=no"]
    columns = ["--text-column", "column_1", "--label-column", "column_2"]
    assert main([*arguments, *columns, "input.encoding=cp1252"]) == 0
    assert "nein" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


def test_a_file_without_a_known_extension_has_the_format_that_is_told(tmp_path):
    file = tmp_path / "SMSSpamCollection"
    file.write_text("spam\tFree prize\nham\tSee you\n")
    with pytest.raises(UserError, match="name the format with --input-format"):
        survey_corpus(InputConfig(path=str(file)))
    told = {"text_column": "column_2", "label_column": "column_1", "header": False}
    survey = survey_corpus(InputConfig(path=str(file), format="tsv", **told))
    assert survey.class_counts == {"ham": 1, "spam": 1}


def test_a_run_is_resumed_without_the_pipe(piped, tmp_path, monkeypatch):
    home = str(tmp_path / "run")
    config = fake_config(tmp_path, input={"path": "-"})
    with fakes_told(tmp_path / "stage"):
        piped(CSV)
        _, manifest = rounds.embed(config, home, **HERE)
        assert manifest.input.rows == len(ROWS)
        monkeypatch.setattr(sys, "stdin", None)  # the corpus is copied: nothing reads it again
        rounds.augment(config, home, **HERE)
        with pytest.raises(UserError, match="was begun from standard input; name the new rows"):
            expand(home, ExpansionRequest(), **HERE)
        piped(CSV + b"corn c,corn\n")
        _, done = expand(home, ExpansionRequest(input="-"), **HERE)
    assert done


def test_a_run_that_was_killed_before_needs_the_same_corpus(piped, tmp_path, monkeypatch):
    home = str(tmp_path / "run")
    config = fake_config(tmp_path, input={"path": "-"})

    def killed(*_, **__):
        raise SystemError("killed")

    with fakes_told(tmp_path / "stage"):
        with monkeypatch.context() as patch:
            patch.setattr("smotext_ray.pipeline.embed.stage_corpus", killed)
            piped(CSV)
            with pytest.raises(SystemError):
                rounds.embed(config, home, **HERE)
        piped(CSV.replace(b"corn b", b"corn c"))
        with pytest.raises(UserError, match="standard input has changed since the run started"):
            rounds.embed(config, home, **HERE)
        piped(CSV)
        _, manifest = rounds.embed(config, home, **HERE)
    assert "embed" in manifest.stages
