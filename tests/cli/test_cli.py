"""Commands on a run, the exit codes of ``augment``, and what starts nothing."""

from __future__ import annotations

import argparse
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from handmade_run import build

from smotext_ray import __version__
from smotext_ray.cli import main as main_module
from smotext_ray.cli.main import main
from smotext_ray.errors import UserError
from smotext_ray.run.directory import MANIFEST
from smotext_ray.run.manifest import Manifest

pytestmark = pytest.mark.usefixtures("own_log", "no_ray")


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


def test_usage_and_help_fit_a_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    parser = main_module._parser()
    (commands,) = (a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
    texts = {"smotext": parser.format_help()}
    texts |= {name: command.format_help() for name, command in commands.choices.items()}
    assert {
        (name, line) for name, text in texts.items() for line in text.splitlines() if len(line) > 80
    } == set()
