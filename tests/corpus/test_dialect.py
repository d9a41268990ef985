"""How csv and tsv files are written: as told, as found where it is sure, or a sentence."""

import logging

import pytest

from smotext_ray.config.load import load_config
from smotext_ray.config.schema import InputConfig
from smotext_ray.corpus.sources import read_blocks
from smotext_ray.corpus.survey import survey_corpus
from smotext_ray.errors import UserError

SECRET = "the patient has a rash"  # of the corpus, never in a message


def read(path, **options):
    blocks = list(read_blocks(InputConfig(path=str(path), **options)))
    return [tuple(row.values()) for block in blocks for row in block.table.to_pylist()]


def refused(path, **options):
    with pytest.raises(UserError) as caught:
        survey_corpus(InputConfig(path=str(path), **options))
    message = str(caught.value)
    assert "\n" not in message and message.endswith(".")
    assert "patient" not in message and "rash" not in message
    return message


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("ending", ["csv", "tsv"])
def test_the_delimiter_is_found_by_the_names_of_the_columns(tmp_path, delimiter, ending):
    path = tmp_path / f"c.{ending}"
    path.write_text(delimiter.join(["id", "text", "label"]) + "\n" + delimiter.join("abc") + "\n")
    assert read(path) == [("a", "b", "c")]


def test_another_delimiter_is_told(tmp_path):
    path = tmp_path / "c.csv"
    path.write_text("text^label\na,b^x\n")
    assert read(path, delimiter="^") == [("a,b", "x")]
    assert load_config(overrides=["input.delimiter=tab"]).input.delimiter == "\t"
    with pytest.raises(UserError, match="one character"):
        load_config(overrides=["input.delimiter=ab"])


def test_without_the_columns_their_names_are_shown(tmp_path):
    path = tmp_path / "c.csv"
    path.write_text(f"Body;Class\n{SECRET};x\n")
    assert "has no column 'text'; name one of its columns (Body, Class)" in refused(path)


@pytest.mark.parametrize(
    "lines",
    [
        f"spam\t{SECRET}\nham\tok\n",
        "spam\tpatient\nham\trash\nspam\tok\n",  # short, but "spam" comes again
        f"1\t{SECRET}\n2\tok\n",
        f"{SECRET}\n",
    ],
)
def test_a_first_row_is_not_shown_as_names(tmp_path, lines):
    (tmp_path / "c.tsv").write_text(lines)
    assert "input.header=false" in refused(tmp_path / "c.tsv")


def test_without_a_header_columns_are_numbered(tmp_path):
    (tmp_path / "c.tsv").write_text("spam\tWIN now\nham\tok\n")
    names = {"text_column": "column_2", "label_column": "column_1", "header": False}
    assert read(tmp_path / "c.tsv", **names) == [("spam", "WIN now"), ("ham", "ok")]
    survey = survey_corpus(InputConfig(path=str(tmp_path / "c.tsv"), **names))
    assert survey.schema.names == ["column_1", "column_2"]


def test_nameless_columns_are_numbered(tmp_path):
    (tmp_path / "c.csv").write_text(",text,,label\n0,a,x,l\n")
    survey = survey_corpus(InputConfig(path=str(tmp_path / "c.csv")), least_classes=1)
    assert survey.schema.names == ["column_1", "text", "column_3", "label"]


# Quotes

STRAY = (
    'label\ttext\nham\t"You are late\nspam\tWIN "a prize" now\nham\tFine" he said\nspam\tcall us\n'
)


def test_stray_quotes_of_a_table_with_one_row_a_line_are_text(tmp_path, caplog, log_at_root):
    (tmp_path / "c.tsv").write_text(STRAY)
    with caplog.at_level(logging.INFO, "smotext_ray"):
        assert read(tmp_path / "c.tsv") == [
            ("ham", '"You are late'),
            ("spam", 'WIN "a prize" now'),
            ("ham", 'Fine" he said'),
            ("spam", "call us"),
        ]
    assert "quotes are taken as part of the texts" in caplog.text and "late" not in caplog.text


def test_rows_between_two_stray_quotes_are_not_swallowed(tmp_path):
    # Well formed: a cell that begins in one line and ends in another.
    (tmp_path / "c.tsv").write_text('label\ttext\nham\t"I am\nspam\tWIN\nham\tlate"\nspam\tb\n')
    assert len(read(tmp_path / "c.tsv")) == 4
    for rows in ('"a,ham\nb,spam\nc",ham\n', 'x,ham\n"a,ham\nb",spam\n'):
        (tmp_path / "c.csv").write_text("text,label\n" + rows)
        assert len(read(tmp_path / "c.csv")) == 3


def test_doubtful_quotes_are_reported_by_line(tmp_path):
    path = tmp_path / "c.csv"
    path.write_text(f'text,label\nfine,ham\n"a,ham\n{SECRET}, ok,b,ham\nb,spam\nc",ham\nd,spam\n')
    message = refused(path)
    assert "line 3" in message and "input.quoting" in message
    assert read(path, quoting="quoted")[1][0].count("\n") == 3
    path.write_text(f'text,label\nfine,ham\n"{SECRET}" he, said,ham\n')
    assert "Line 3" in refused(path)


def test_texts_of_several_lines_with_delimiters_are_read(tmp_path):
    (tmp_path / "c.csv").write_text('text,label\n"two lines\nof text, and, more",ham\nb,spam\n')
    assert read(tmp_path / "c.csv")[0] == ("two lines\nof text, and, more", "ham")
    (tmp_path / "d.csv").write_text('label,text\nham,"dear all,\n\nsee, below"\nspam,b\n')
    assert read(tmp_path / "d.csv")[0] == ("ham", "dear all,\n\nsee, below")


def test_quotes_after_a_backslash(tmp_path):
    (tmp_path / "c.csv").write_text('text,label\n"say \\"hi\\", then go",ham\nb,spam\n')
    assert read(tmp_path / "c.csv")[0] == ('say "hi", then go', "ham")


def test_quoting_as_told(tmp_path):
    (tmp_path / "c.csv").write_text('text,label\n"a",ham\n')
    assert read(tmp_path / "c.csv") == [("a", "ham")]
    assert read(tmp_path / "c.csv", quoting="none") == [('"a"', "ham")]


def test_a_row_with_too_many_cells_is_reported_by_line(tmp_path):
    (tmp_path / "c.csv").write_text(f'text,label\n"a\nb",x\n{SECRET},x,y\n')
    assert "Line 4" in refused(tmp_path / "c.csv")


def test_a_damaged_header_shows_no_row(tmp_path):
    (tmp_path / "c.csv").write_text(f'"{SECRET}\n' * 3)
    refused(tmp_path / "c.csv")


# Encodings

TEXT = "text,label\ncafé € déjà vu,fr\nplain,en\n"


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_a_byte_order_mark_says_the_encoding(tmp_path, encoding, ending):
    content = TEXT if ending == "csv" else '{"text": "café € déjà vu", "label": "fr"}\n'
    (tmp_path / f"c.{ending}").write_text(content, encoding=encoding)
    assert read(tmp_path / f"c.{ending}")[0] == ("café € déjà vu", "fr")


@pytest.mark.parametrize("encoding", ["cp1252", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_other_encodings_are_named_and_can_be_told(tmp_path, encoding, ending):
    content = (
        TEXT if ending == "csv" else '{"text": "a", "label": "b"}\n{"text": "é", "label": "c"}\n'
    )
    path = tmp_path / f"c.{ending}"
    path.write_bytes(content.encode(encoding))
    message = refused(path)
    assert f"input.encoding={encoding}" in message
    assert "line 2" in message or "utf-16" in encoding
    assert len(read(path, encoding=encoding)) == 2


def test_an_unknown_encoding(tmp_path):
    (tmp_path / "c.csv").write_text(TEXT)
    assert "'klingon' is unknown" in refused(tmp_path / "c.csv", encoding="klingon")


@pytest.mark.parametrize(
    ("start", "part"),
    [(b"PK\x03\x04", "zip"), (b"PAR1", ".parquet"), (b"SQLite format 3", "SQLite")],
)
def test_files_that_are_no_text_are_named(tmp_path, start, part):
    (tmp_path / "c.csv").write_bytes(start + b"\0" * 100)
    assert part in refused(tmp_path / "c.csv")


def test_a_file_that_changes_is_looked_at_again(tmp_path):
    path = tmp_path / "c.csv"
    path.write_text("text,label\na,b\n")
    assert len(read(path)) == 1
    path.write_text("text;label\na;b\nc;d\n")
    assert len(read(path)) == 2


@pytest.mark.parametrize("start", ["\n\n", "\r\n", "sep=;\n", "\nSEP=;\r\n\n"])
def test_lines_before_the_header_are_no_rows(tmp_path, start):
    content = 'text;label\n"a\n""b""";x\nc;y\n'
    if "=" not in start:
        content = content.replace(";", ",")
    (tmp_path / "c.csv").write_bytes((start + content).encode())
    assert read(tmp_path / "c.csv") == [('a\n"b"', "x"), ("c", "y")]
    (tmp_path / "d.csv").write_bytes((start + content + f"{SECRET};x;y,x,y\n").encode())
    line = content.count("\n") + 1 + start.count("\n")
    assert f"Line {line} of" in refused(tmp_path / "d.csv")


def test_null_bytes_in_a_text(tmp_path):
    (tmp_path / "c.csv").write_text(f"text,label\n{SECRET} and some more of it\0,b\n")
    assert "remove them" in refused(tmp_path / "c.csv")


def test_files_that_were_joined_with_their_headers_are_refused(tmp_path):
    file = tmp_path / "joined.csv"
    part = "text,label,n\na b,x,1\nc d,x,2\ne f,y,3\ng h,y,4\n"
    file.write_text(part + part.replace("a b", "i j"))
    with pytest.raises(UserError, match="has the names of its columns again in a later line"):
        survey_corpus(InputConfig(path=str(file)))
    # A row may have one of the names.
    file.write_text(part + "text,x,n\nj k,label,5\nl m,label,6\n")
    assert survey_corpus(InputConfig(path=str(file))).rows == 7
