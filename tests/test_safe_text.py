"""No credential of an address is ever shown, and no control character reaches a terminal."""

from __future__ import annotations

import string
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from smotext_ray.errors import Stopped, UserError
from smotext_ray.safe_text import BUCKETS, safe, visible, without_keys, without_secrets

SCHEMES = ("s3", "gs", "gcs", "abfs", "abfss", "http", "https", "sftp", "hdfs", "ftp", "memory")
# What people call an option with a secret in it; any other name that is not known is one too.
NAMES = ("pwd", "pass", "auth", "code", "jwt", "sig", "key", "X-Amz-Signature", "sv", "t", "Region")
MARK = "Zq7"  # stands in every secret, and nowhere else
PLAIN = string.ascii_letters + string.digits + "-._~"

words = st.text(PLAIN, min_size=1, max_size=12)
# As in a valid URI: unreserved characters, subdelimiters and quoted bytes.
secrets = st.builds(
    lambda before, after: before + MARK + after,
    st.text(PLAIN + "!$*+%2F", max_size=8),
    st.text(PLAIN + "!$*+%2F", max_size=8),
)


@st.composite
def addresses(draw):
    """An address with secrets wherever one may stand, and its harmless rest."""
    scheme, host, path = draw(st.sampled_from(SCHEMES)), draw(words), draw(words)
    user = draw(st.sampled_from(["", "{0}@", "me:{0}@", ":{0}@"]))
    if scheme not in ("s3", "gs", "gcs", "http", "https", "ftp", "memory"):
        user = user.replace("{0}@", ":{0}@") if user == "{0}@" else user  # a name is no secret
    options = draw(st.lists(st.sampled_from(NAMES), max_size=3))
    fragment = draw(st.sampled_from(["", "#{0}", "#access_token={0}"]))
    query = "&".join(f"{name}={draw(secrets)}" for name in options)
    text = f"{scheme}://{user}{host}/{path}{'?' if query else ''}{query}{fragment}"
    return text.format(draw(secrets)), host, path


@given(addresses(), st.sampled_from(["{}", "The run {} is odd.", "see '{}'; do", "({}), twice {}"]))
def test_no_secret_of_an_address_is_shown(made, sentence):
    address, host, path = made
    for said in (without_keys(address), safe(sentence.format(address, address))):
        assert MARK not in said
        assert f"{host}/{path}" in said


@given(st.sampled_from(sorted(BUCKETS)), st.text(PLAIN + "/+", max_size=20))
@example("s3", "12345/abc")  # not a port
def test_nor_is_an_unquoted_key_of_a_bucket(scheme, secret):
    assert without_keys(f"{scheme}://AKIA:{secret}{MARK}@bucket/x") == f"{scheme}://bucket/x"


@given(st.text())
def test_what_is_safe_stays_as_it_is(text):
    once = safe(text)
    assert safe(once) == once


@given(addresses())
def test_an_address_that_was_cleaned_stays_as_it_is(made):
    once = without_keys(made[0])
    assert without_keys(once) == once == safe(once)


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("AWS_SECRET_ACCESS_KEY=ab/c+d is wrong", "AWS_SECRET_ACCESS_KEY=*** is wrong"),
        ("{'password': 'x y'}", "{'password': '*** y'}"),
        ("Authorization: Bearer abcdefgh.ijk", "Authorization: Bearer ***"),
        ("token hf_abcdefgh12 has expired", "token *** has expired"),
        ("zip://a.csv::https://u:p@host/f.zip", "zip://a.csv::https://host/f.zip"),
        ("decoder.max_tokens=64, exit code=2", "decoder.max_tokens=64, exit code=2"),
        ("s3://b/x?endpoint_override=http%3A%2F%2Fu:p%40h", "s3://b/x"),
    ],
)
def test_secrets_next_to_addresses(said, shown):
    assert without_secrets(said) == shown


@given(st.text())
def test_no_control_character_reaches_a_terminal(text):
    seen = {unicodedata.category(c) for c in visible(text) if c not in "\n\t"}
    assert "Cc" not in seen
    assert not set("\u202a\u202b\u202d\u202e\u2066\u2067\u2068\u2069") & set(visible(text))


@pytest.mark.parametrize("kind", [UserError, Stopped])
def test_errors_are_safe_wherever_they_are_printed(kind):
    error = kind("There is no s3://AKIA:secret@bucket/a\x1b[2J?pwd=1.")
    assert str(error) == "There is no s3://bucket/a\\x1b[2J."


def test_texts_of_a_run_are_shown_and_not_obeyed(tmp_path, capsys, own_log):
    from handmade_run import build

    from smotext_ray.cli.main import main

    evil = "\x1b]52;c;ZXZpbA==\x07\x1b[2J\x9b31m"
    run = build(tmp_path, {"grain": 3}, text_of=lambda i, label: f"{evil}{i} on {label}")
    assert main(["show", run.uri]) == 0
    seen = capsys.readouterr()
    assert not {"\x1b", "\x07", "\x9b"} & set(seen.out + seen.err)
    assert "\\x1b]52;c;ZXZpbA==" in seen.out


def test_labels_and_paths_in_messages_are_too(tmp_path, capsys, own_log):
    from smotext_ray.cli.main import main

    (tmp_path / "in.csv").write_text("text,label\na,\x1b[2J\nb,\x1b[2J\n")
    paths = ["--input", str(tmp_path / "in.csv"), "--output", str(tmp_path / "out")]
    assert main(["augment", *paths]) == 2
    assert main(["verify", f"{tmp_path}/\x1b[2J"]) == 2
    error = capsys.readouterr().err
    assert "\x1b" not in error and error.count("\\x1b[2J") == 2
