"""The command line: what the user gets wrong is one sentence and exit code 2."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fake_stages import MODELS
from handmade_run import build

from smotext_ray import __version__
from smotext_ray.cli import main as cli_main
from smotext_ray.cli.main import main
from smotext_ray.cluster import session
from smotext_ray.cluster.session import Cluster
from smotext_ray.errors import UserError
from smotext_ray.pipeline import rounds
from smotext_ray.pipeline.actors import Actors
from smotext_ray.pipeline.on_ray import OnRay
from smotext_ray.run.directory import MANIFEST
from smotext_ray.run.manifest import Manifest

pytestmark = pytest.mark.usefixtures("own_log")

ROWS = [
    *(("wheat prices rose", "grain"), ("the harvest was poor", "grain")),
    *(("a vessel sank", "ship"), ("the port is shut", "ship"), ("two tankers met", "ship")),
]

NO_MODELS = OnRay(Actors(check_models=lambda config: MODELS))


@pytest.fixture(autouse=True)
def no_ray(monkeypatch):
    def connect():
        raise AssertionError("this was to be refused before Ray is started")

    monkeypatch.setattr(session, "connect", connect)


@pytest.fixture
def corpus(tmp_path):
    return csv(tmp_path / "corpus.csv")


def csv(path, rows=ROWS, header="text,label"):
    path.write_text("\n".join([header, *(",".join(row) for row in rows)]) + "\n")
    return path


@pytest.fixture
def output(tmp_path):
    return tmp_path / "run"


@pytest.fixture
def refused(capsys):
    """Run a command that is to be refused; returns its sentence."""

    def run(*arguments):
        code = main([str(argument) for argument in arguments], NO_MODELS)
        out, err = capsys.readouterr()
        assert code == 2, err
        assert out == ""
        assert err.startswith("smotext: error: ") and err.count("\n") == 1
        assert "Traceback" not in err
        return err.removeprefix("smotext: error: ").rstrip("\n")

    return run


@pytest.fixture
def printed(capsys):
    """Run a command; returns its exit code and what it printed, without table lines."""

    def run(*arguments):
        code = main([str(argument) for argument in arguments], NO_MODELS)
        out = capsys.readouterr().out
        return code, " ".join(out.translate(str.maketrans("│┃", "  ")).split())

    return run


# The corpus


def refused_corpus(refused, path, output, *more):
    """The sentence, which the dry run gives too; nothing is made."""
    before = sorted(path.parent.iterdir()) if path.parent.is_dir() else []
    command = ("augment", "--input", path, "--output", output, *more)
    sentence = refused(*command)
    assert refused(*command, "--dry-run") == sentence
    assert not output.exists()
    assert (sorted(path.parent.iterdir()) if path.parent.is_dir() else []) == before
    return sentence


def test_the_file_is_missing(refused, tmp_path, output):
    assert "does not exist" in refused_corpus(refused, tmp_path / "no.csv", output)
    assert "does not exist" in refused_corpus(refused, tmp_path / "no" / "*.csv", output)


@pytest.mark.parametrize("content", ["", "text,label\n"], ids=["no bytes", "no rows"])
def test_the_file_is_empty(refused, tmp_path, output, content):
    path = tmp_path / "empty.csv"
    path.write_text(content)
    assert str(path) in refused_corpus(refused, path, output)


def test_the_directory_is_empty(refused, tmp_path, output):
    (tmp_path / "in" / "empty").mkdir(parents=True)
    refused_corpus(refused, tmp_path / "in" / "empty", output)


def test_the_file_cannot_be_read(refused, tmp_path, output):
    path = csv(tmp_path / "corpus.csv")
    path.chmod(0)
    try:
        path.read_bytes()
    except PermissionError:
        assert str(path) in refused_corpus(refused, path, output)
    else:
        pytest.skip("this user may read every file")


@pytest.mark.parametrize("name", ["c.parquet", "c.jsonl", "c.csv.gz", "c.csv"])
def test_the_file_is_corrupt(refused, tmp_path, output, name):
    path = tmp_path / name
    path.write_bytes(b'\x00\xff\xfe"{not a table\n\x00\n' * 3)
    assert str(path) in refused_corpus(refused, path, output)


def test_a_parquet_file_is_cut_off(refused, tmp_path, output):
    path = tmp_path / "corpus.parquet"
    pq.write_table(pa.table({"text": ["a", "b"] * 500, "label": ["x", "y"] * 500}), path)
    path.write_bytes(path.read_bytes()[:-100])
    assert str(path) in refused_corpus(refused, path, output)


def test_a_column_is_missing(refused, tmp_path, output):
    path = csv(tmp_path / "corpus.csv", header="body,topic")
    sentence = refused_corpus(refused, path, output)
    assert "text" in sentence and "body" in sentence and "topic" in sentence
    sentence = refused_corpus(refused, path, output, "--text-column", "body")
    assert "label" in sentence and "topic" in sentence
    sentence = refused_corpus(
        refused,
        path,
        output,
        *("--text-column", "body", "--label-column", "topic"),
        *("--id-column", "number"),
    )
    assert "number" in sentence


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"text": None, "label": "a"}, "text is null"),
        ({"text": "  \n", "label": "a"}, "text is empty"),
        ({"text": 17, "label": "a"}, "text is not a string"),
        ({"text": "some words", "label": None}, "label is null"),
    ],
)
def test_a_row_is_bad(refused, printed, tmp_path, output, row, reason):
    path = tmp_path / "corpus.jsonl"
    good = [{"text": f"words {i}", "label": "ab"[i % 2]} for i in range(5)]
    path.write_text("".join(json.dumps(line) + "\n" for line in [*good, row]))
    sentence = refused_corpus(refused, path, output)
    assert reason in sentence and "5" in sentence and "--on-bad-row skip" in sentence
    code, out = printed("augment", "--input", path, "--on-bad-row", "skip", "--dry-run")
    assert code == 0 and f"1 rows whose {reason}" in out


def test_one_class_only(refused, tmp_path, output):
    path = csv(tmp_path / "corpus.csv", rows=[("one", "ship"), ("two", "ship")])
    assert "'ship'" in refused_corpus(refused, path, output)


# The strategy and the settings


@pytest.mark.parametrize(
    ("strategy", "told"),
    [
        ('{"corn": 9}', "corn"),
        ('{"ship": 1}', "already has 3"),
        ('{"ship": "many"}', "'many'"),
        ('{"ship": 3.5}', "3.5"),
        ("{ship: 3}", "is not JSON"),
        ('{"ship": 3', "is not JSON"),
        ("[1, 2]", "Unknown sampling strategy '[1, 2]'"),
        ("true", "Unknown sampling strategy 'true'"),
        ("null", "Unknown sampling strategy 'null'"),
        ("most", "'most'"),
        ("1.5", "1.5"),
        ("-1", "-1"),
    ],
)
def test_a_strategy_does_not_fit(refused, corpus, output, strategy, told):
    sentence = refused_corpus(refused, corpus, output, f"--sampling-strategy={strategy}")
    assert told in sentence


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (["--preset", "offlin"], "Did you mean 'offline'"),
        (["decoder.max_token=3"], "Did you mean 'max_tokens'"),
        (["decode.max_tokens=3"], "Did you mean 'decoder'"),
        (["max_tokens=3"], "max_tokens"),
        (["decoder.max_tokens"], "section.key=value"),
        (["decoder.max_tokens=many"], "decoder.max_tokens"),
        (["decoder.max_tokens=0"], "decoder.max_tokens"),
        (["decoder.max_tokens=[1"], "not YAML"),
        (["--k-neighbors", "0"], "neighbors.k_neighbors"),
        (["--seed", "-1"], "plan.seed"),
        (["--max-rounds", "0"], "plan.max_rounds"),
        (["--seed", "x"], "--seed"),
        (["--on-bad-row", "maybe"], "maybe"),
        (["--config", "/no/such.yaml"], "/no/such.yaml"),
        (["--bogus"], "--bogus"),
    ],
)
def test_a_setting_does_not_fit(refused, corpus, output, more, told):
    assert told in refused_corpus(refused, corpus, output, *more)


@pytest.mark.parametrize("content", ["- 1\n- 2\n", "decoder: [", "decoder: 3\n", "\x00"])
def test_a_config_file_does_not_fit(refused, corpus, output, tmp_path, content):
    file = tmp_path / "run.yaml"
    file.write_text(content)
    refused_corpus(refused, corpus, output, "--config", file)


@pytest.mark.parametrize(
    "arguments", [[], ["frobnicate"], ["augment", "--input"], ["show"], ["status"], ["--bogus"]]
)
def test_usage(refused, arguments):
    assert "--help" in refused(*arguments)


def test_an_option_may_stand_between_overrides():
    command = ["augment", "plan.seed=3", "--input", "a.csv", "gate.min_words=2", "gate.max_words=9"]
    options = cli_main._options(command)
    assert options.overrides == ["plan.seed=3", "gate.min_words=2", "gate.max_words=9"]
    assert options.input == "a.csv"


def test_input_and_output_have_to_be_named(refused, corpus, output):
    assert "--input" in refused("augment", "--output", output)
    assert "--output" in refused("augment", "--input", corpus)
    assert "--output" in refused("embed", "--input", corpus)
    assert not output.exists()


# The output


def test_the_output_holds_another_run(refused, tmp_path):
    build(tmp_path, {"grain": 2})
    before = (tmp_path / "run" / MANIFEST).read_bytes()
    command = ("augment", "--input", tmp_path / "corpus.parquet", "--output", tmp_path / "run")
    columns = ("--text-column", "body", "--label-column", "topic")
    sentence = refused(*command, *columns, "--seed", "4")
    assert "was started with other settings: plan.seed is 0 there, but 4 here" in sentence
    other = csv(tmp_path / "other.csv")
    sentence = refused("augment", "--input", other, "--output", tmp_path / "run", *columns)
    assert "input.path" in sentence
    assert (tmp_path / "run" / MANIFEST).read_bytes() == before


def test_the_output_holds_something_else(refused, corpus, output):
    output.mkdir()
    (output / "letter.txt").write_text("dear")
    assert "has files but no run" in refused("augment", "--input", corpus, "--output", output)
    assert [path.name for path in output.iterdir()] == ["letter.txt"]


def test_the_output_is_a_file(refused, corpus):
    assert "is a file" in refused("augment", "--input", corpus, "--output", corpus)
    assert corpus.read_text().startswith("text,label")


# The cluster


@pytest.mark.parametrize(
    ("there", "more", "told"),
    [
        (Cluster(6, 0, 8), ["resources.encoder_actors=9"], "encoder_actors is 9"),
        (Cluster(1, 0, 8), [], "has 1 CPUs"),
        (Cluster(6, 0, 0.5), [], "0.5 GiB"),
    ],
)
def test_the_cluster_is_too_small(refused, corpus, output, monkeypatch, there, more, told):
    monkeypatch.setattr(session, "connect", lambda: there)
    assert told in refused("augment", "--input", corpus, "--output", output, *more)


@pytest.mark.parametrize("more", [[], ["--dry-run"]])
def test_a_class_of_one_row(refused, tmp_path, output, more):
    singleton = csv(tmp_path / "singleton.csv", ROWS[1:])
    sentence = refused("augment", "--input", singleton, "--output", output, *more)
    assert "Class 'grain' has only one distinct text" in sentence


# Commands on a run


@pytest.mark.parametrize("command", ["status", "verify", "show", "plan", "decode"])
@pytest.mark.parametrize("what", ["nothing", "file", "directory", "damaged"])
def test_there_is_no_run(refused, tmp_path, command, what):
    path = tmp_path / "it"
    if what == "file":
        path.write_text("x")
    elif what != "nothing":
        path.mkdir()
        (path / (MANIFEST if what == "damaged" else "letter.txt")).write_text('{"format"')
    before = sorted(tmp_path.rglob("*"))
    sentence = refused(command, path)
    assert ("is damaged" if what == "damaged" else "There is no run in") in sentence
    assert sorted(tmp_path.rglob("*")) == before


def test_status_show_and_verify(printed, tmp_path):
    run = build(tmp_path, {"grain": 2, "ship": 1}, rejected={0: "empty"}).uri
    code, out = printed("status", run)
    assert code == 0 and "decode round-1 done 3 of 3" in out
    code, out = printed("verify", run)
    assert code == 0 and out.endswith("is valid.")
    code, out = printed("show", run, "--rows", "1", "--label", "ship")
    assert code == 0 and "new text 2 on ship" in out
    code, out = printed("show", run, "--status", "rejected")
    assert code == 0 and "rejected: empty" in out
    code, out = printed("show", run, "--label", "corn")
    assert code == 0 and out.startswith("No accepted samples")


def test_an_unsound_run_is_exit_code_1(printed, tmp_path):
    run = build(tmp_path, {"grain": 2})
    run.fs.delete_file(run.at("augmented.parquet"))
    code, out = printed("verify", run.uri)
    assert code == 1 and "is NOT valid." in out and "--repair" in out


def test_plan_comes_after_embed_and_decode_after_plan(refused, printed, tmp_path):
    run = build(tmp_path / "a", {"grain": 2}, until="plan")
    assert "smotext decode" in refused("plan", run.uri)
    run = build(tmp_path / "b", {}, until="embed")
    code, out = printed("decode", run.uri)
    assert code == 0 and "Nothing to decode" in out
    manifest = Manifest.read(run)
    del manifest.stages["embed"]
    manifest.save(run)
    assert "run smotext embed first" in refused("plan", run.uri)


# Exit codes of augment


@pytest.fixture
def augment(monkeypatch, corpus, output):
    """The command, with another function in place of the pipeline's."""

    def run(function):
        monkeypatch.setattr(rounds, "augment", function)
        return main(["augment", "--input", str(corpus), "--output", str(output)])

    return run


def test_done_is_0_and_short_is_3(augment, tmp_path, capsys):
    done = build(tmp_path / "done", {"grain": 2})
    short = build(tmp_path / "short", {"grain": 2}, rejected={0: "truncated"})
    assert augment(lambda config, uri: done) == 0
    assert "fell short" not in capsys.readouterr().out
    assert augment(lambda config, uri: short) == 3
    assert "Class 'grain' is 1 short of its target" in capsys.readouterr().out


def test_a_fault_is_1_and_one_line(augment, capsys):
    def fail(config, uri):
        raise RuntimeError("boom\nand so on")

    assert augment(fail) == 1
    err = capsys.readouterr().err
    assert err.startswith("smotext: failed: RuntimeError") and err.count("\n") == 1


def test_of_an_actors_error_its_own_words_are_told(augment, capsys):
    def fail(config, uri):
        raise RuntimeError(
            "ray::MapWorker(MapBatches(Decoder)) (pid=1)\n  File x\nValueError: no such token\n\n"
            "The above exception was the direct cause of the following exception:\n\n"
            "UserCodeException: UDF failed.\nTo change retry attempts, configure Ray."
        )

    assert augment(fail) == 1
    assert capsys.readouterr().err.startswith("smotext: failed: ValueError: no such token.")


def test_a_user_error_inside_another_is_2(augment, capsys):
    def fail(config, uri):
        try:
            raise UserError("Fix this.")
        except UserError as error:
            raise RuntimeError("an actor failed") from error

    assert augment(fail) == 2
    assert capsys.readouterr().err == "smotext: error: Fix this.\n"


def test_stopped_by_the_user(augment, capsys):
    def stop(config, uri):
        raise KeyboardInterrupt

    assert augment(stop) == 130
    assert "run the same command again to resume" in capsys.readouterr().err


# What starts nothing


def test_dry_run(printed, corpus, output, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    code, out = printed(
        *("augment", "--input", corpus, "--output", output, "--dry-run"),
        *("--sampling-strategy", '{"grain": 5, "ship": 3}', "decoder.num_candidates=3"),
    )
    assert code == 0
    assert "grain 2 3 5" in out and "ship 3 0 3" in out
    assert "3 points, 3 texts each" in out and "Nothing was written." in out
    assert sorted(tmp_path.rglob("*")) == before


def test_version(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"smotext-ray {__version__}\n"


def test_the_help_has_every_command_in_one_group(capsys):
    from smotext_ray.cli.help import GROUPS
    from smotext_ray.cli.main import _parser

    (commands,) = (a for a in _parser()._actions if isinstance(a, argparse._SubParsersAction))
    assert sorted(name for names in GROUPS.values() for name in names) == sorted(commands.choices)
    with pytest.raises(SystemExit):
        main(["--help"])
    out = capsys.readouterr().out
    assert all(out.count(f"\n  {name} ") == 1 for name in commands.choices)
    assert max(map(len, out.splitlines())) <= 80
    with pytest.raises(SystemExit):
        main(["augment", "--help"])
    assert capsys.readouterr().out.startswith("usage: smotext augment [-h]")


@pytest.mark.parametrize("arguments", [["--help"], ["augment", "--help"]])
def test_help_is_light(arguments):
    code = (
        "import sys\n"
        "from smotext_ray.cli.main import main\n"
        "try:\n"
        f"    main({arguments})\n"
        "except SystemExit as end:\n"
        "    heavy = {'torch', 'ray', 'vllm', 'transformers', 'pyarrow'} & set(sys.modules)\n"
        "    print(end.code, sorted(heavy), file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr == "0 []\n"
    assert "usage: smotext" in done.stdout


def test_the_console_script_ends_with_the_code_of_main(tmp_path):
    (script,) = metadata.entry_points(group="console_scripts", name="smotext")
    assert script.load() is main
    command = Path(sys.executable).with_name("smotext")
    done = subprocess.run([command, "status", tmp_path], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == f"smotext: error: There is no run in {tmp_path} (no {MANIFEST}).\n"


def test_import_xrag_of_nothing(refused, tmp_path):
    sentence = refused("bridge", "import-xrag", tmp_path / "none", "--output", tmp_path / "it")
    assert "none" in sentence
    assert not (tmp_path / "it").exists()


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_a_completion_for_the_shell(shell, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--print-completion", shell])
    script = capsys.readouterr().out
    assert ended.value.code == 0
    assert "--sampling-strategy" in script and "train-bridge" in script
    if shell == "bash":
        subprocess.run(["bash", "-n"], input=script, text=True, check=True)


def test_verify_tells_how_to_repair(tmp_path, capsys):
    run = build(tmp_path, {"grain": 4, "ship": 2})
    assert main(["verify", run.uri]) == 0
    (tmp_path / "run" / "augmented.parquet").unlink()
    capsys.readouterr()
    assert main(["verify", run.uri]) == 1
    assert f"run: smotext verify {run.uri} --repair" in capsys.readouterr().out
