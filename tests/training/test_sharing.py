"""Bridges go to a hub and come back, and nothing that lies next to them goes with them."""

from __future__ import annotations

import hashlib
import json
import socket
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import huggingface_hub
import pytest
import torch
from fake_hub import FAILURES, Hub, failing_with, faked

from smotext_ray.cli.doctor import _bridge as doctors_look
from smotext_ray.cli.main import main
from smotext_ray.config.load import load_config
from smotext_ray.errors import UserError
from smotext_ray.models.bridge import Bridge
from smotext_ray.models.bridge_config import BridgeConfig
from smotext_ray.models.files import DEFAULT_BRIDGE, bridge_directory
from smotext_ray.models.load import check_models
from smotext_ray.training import push as hub_module
from smotext_ray.training.card import write_card

CONFIG = BridgeConfig(
    encoder="some-lab/an-encoder",
    encoder_sha256="abc",
    encoder_dim=5,
    pooling="mean",
    normalize=True,
    max_length=128,
    llm="other-lab/an-llm",
    llm_sha256="def",
    llm_hidden_size=7,
    soft_tokens=3,
    projector_hidden_size=11,
)
BRIDGE_FILES = {"README.md", "config.json", "bridge.safetensors"}
LORA_FILES = {"adapter_config.json", "adapter_model.safetensors"}
# What else may lie in the directory of a training.
NOT_TO_BE_SHARED = (
    *("training_state.pt", "metrics.jsonl", "embeddings-abc/00000.npy"),
    *(".bridge/bridge.safetensors", ".bridge/config.json", "cache/x.safetensors"),
    *("other.safetensors", "notes.txt", "eval.json", "sub/README.md"),
)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    return faked(Hub(tmp_path / "downloads"), monkeypatch)


@pytest.fixture
def failing_hub(monkeypatch):
    return failing_with(monkeypatch)


@pytest.fixture
def bridge():
    torch.manual_seed(0)
    return Bridge(CONFIG, 0.5, before=torch.randn(2, 7), after=torch.randn(1, 7)).eval()


@pytest.fixture
def directory(tmp_path, bridge):
    """A directory as a training leaves it, with a card."""
    path = tmp_path / "trained"
    bridge.save_pretrained(path)
    write_card(path)
    for name in NOT_TO_BE_SHARED:
        (path / name).parent.mkdir(exist_ok=True)
        (path / name).write_text("{}")
    return path


@pytest.fixture
def run(capsys):
    """Run a command; returns its exit code and what it said."""

    def command(*arguments):
        code = main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        assert (out + err).count("\n") == 1
        return code, (out + err).rstrip("\n")

    return command


def lora(directory):
    """Make the bridge one with LoRA."""
    (directory / "config.json").write_text(json.dumps(asdict(CONFIG) | {"lora_rank": 4}))
    for name in LORA_FILES:
        (directory / name).write_text('{"r": 4}')


def refusal(function, *arguments, **keywords) -> str:
    with pytest.raises(UserError) as caught:
        function(*arguments, **keywords)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# Up


def test_a_bridge_in_a_directory_goes_up_with_its_card_and_nothing_else(hub, directory, run):
    code, said = run("bridge", "push", "me/mine", "--bridge", directory)
    assert (code, said.split("; ")[1]) == (0, "use it with bridge.path=me/mine")
    assert set(hub.files["me/mine"]) == BRIDGE_FILES
    for name, content in hub.files["me/mine"].items():
        assert content == (directory / name).read_bytes()
    assert hub.private == {"me/mine": False}
    assert hub.messages == ["Upload a bridge"]


def test_lora_goes_with_its_bridge(hub, directory, run):
    lora(directory)
    assert run("bridge", "push", "me/mine", "--bridge", directory)[0] == 0
    assert set(hub.files["me/mine"]) == BRIDGE_FILES | LORA_FILES


def test_lora_that_is_none_of_this_bridges_stays(hub, directory, run):
    for name in LORA_FILES:
        (directory / name).write_text("left by another training")
    assert run("bridge", "push", "me/mine", "--bridge", directory)[0] == 0
    assert set(hub.files["me/mine"]) == BRIDGE_FILES


@pytest.mark.parametrize("name", sorted(LORA_FILES))
def test_a_bridge_that_lacks_its_lora_is_refused(hub, directory, run, name):
    lora(directory)
    (directory / name).unlink()
    code, said = run("bridge", "push", "me/mine", "--bridge", directory)
    assert code == 2 and f"{name} is missing" in said
    assert not hub.files


def test_the_owner_is_added_to_a_name_alone(hub, directory, run):
    assert "bridge.path=me/mine" in run("bridge", "push", "mine", "--bridge", directory)[1]
    assert set(hub.files["me/mine"]) == BRIDGE_FILES


def test_a_private_repository_is_made_private(hub, directory, run):
    assert run("bridge", "push", "me/mine", "--bridge", directory, "--private")[0] == 0
    assert hub.private == {"me/mine": True}
    assert run("bridge", "push", "me/mine", "--bridge", directory, "--private")[0] == 0


def test_what_is_to_be_private_does_not_go_to_a_public_repository(hub, directory, run):
    hub.create_repo("me/mine")
    code, said = run("bridge", "push", "me/mine", "--bridge", directory, "--private")
    assert code == 2 and "is public" in said
    assert hub.files == {"me/mine": {}}


def test_without_a_card_nothing_goes_up(hub, directory, run):
    (directory / "README.md").unlink()
    code, said = run("bridge", "push", "me/mine", "--bridge", directory)
    assert code == 2 and f"smotext bridge card --bridge {directory} --eval FILE" in said
    assert not hub.files


@pytest.mark.parametrize(
    ("name", "told"),
    [("config.json", "no bridge in"), ("bridge.safetensors", "cannot be read")],
)
def test_what_is_no_bridge_does_not_go_up(hub, directory, run, name, told):
    (directory / name).unlink()
    code, said = run("bridge", "push", "me/mine", "--bridge", directory)
    assert code == 2 and told in said
    assert not hub.files


def test_a_bridge_goes_up_and_comes_back(hub, directory, bridge):
    name = hub_module.push_directory(
        directory, "mine", private=True, token="secret", commit_message="Better"
    )
    assert name == "me/mine"
    assert set(hub.files[name]) == BRIDGE_FILES
    assert (hub.private, hub.messages, hub.tokens) == ({name: True}, ["Better"], {"secret"})
    loaded = Bridge.from_pretrained(name)
    assert loaded.config == CONFIG and not loaded.training
    for key, tensor in bridge.state_dict().items():
        assert torch.equal(loaded.state_dict()[key], tensor.to(torch.bfloat16).float()), key


def test_a_bridge_in_a_directory_brings_its_new_card(hub, directory):
    hub.files["me/mine"], hub.private["me/mine"] = {"README.md": b"old"}, False
    hub_module.push_directory(directory, "me/mine")
    assert hub.files["me/mine"]["README.md"] == (directory / "README.md").read_bytes()


# Down


def test_only_a_bridges_files_are_fetched(hub, directory):
    lora(directory)
    files = [str(f.relative_to(directory)) for f in directory.rglob("*") if f.is_file()]
    hub.files["me/mine"] = {name: (directory / name).read_bytes() for name in files}
    assert set(NOT_TO_BE_SHARED) < set(files)
    found = bridge_directory("me/mine")
    fetched = {str(f.relative_to(found)) for f in found.rglob("*") if f.is_file()}
    assert fetched == BRIDGE_FILES | LORA_FILES


def test_a_run_takes_a_bridge_by_its_hub_name(hub):
    names = ["adapter_config.json", "adapter_model.safetensors", "bridge.safetensors"]
    content = b"".join((DEFAULT_BRIDGE / name).read_bytes() for name in names)
    names.append("config.json")
    hub.files["lab/bridge"] = {name: (DEFAULT_BRIDGE / name).read_bytes() for name in names}
    config = load_config(overrides=["bridge.path=lab/bridge"])
    sha256 = hashlib.sha256(content).hexdigest()
    assert check_models(config)["bridge"] == {"name": "lab/bridge", "sha256": sha256}
    assert doctors_look(config).ok


def test_a_directory_goes_before_a_repository_of_its_name(hub, directory, monkeypatch, bridge):
    monkeypatch.chdir(directory.parent.parent)
    name = f"{directory.parent.name}/{directory.name}"
    hub.files[name] = {}
    assert bridge_directory(name) == Path(name)
    assert Bridge.from_pretrained(name).config == CONFIG
    huggingface_hub.snapshot_download.assert_not_called()


@pytest.mark.parametrize(
    "path", ["./no/bridge", "/no/bridge", "~/no", "nothing", "a/b/c", "runs/nothing/", "no/../no"]
)
def test_a_path_is_not_looked_for_on_the_hub(hub, path):
    assert "There is no bridge in" in refusal(Bridge.from_pretrained, bridge_directory(path))
    assert "There is no bridge in" in refusal(Bridge.from_pretrained, path)
    assert "There is no bridge in" in refusal(Bridge.from_pretrained, Path("runs/nothing"))
    huggingface_hub.snapshot_download.assert_not_called()


def test_a_file_and_an_empty_directory_are_no_hub_names(hub, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "empty").mkdir(parents=True)
    (tmp_path / "runs" / "file").write_text("")
    for name in ("runs/empty", "runs/file"):
        told = refusal(Bridge.from_pretrained, name)
        assert told == f"There is no bridge in {name} (config.json is missing)."
    huggingface_hub.snapshot_download.assert_not_called()


def test_default_is_still_the_packages_for_a_run_and_a_directory_for_a_bridge(hub, tmp_path):
    assert bridge_directory("default") == DEFAULT_BRIDGE
    assert "no bridge in default" in refusal(Bridge.from_pretrained, "default")


def test_a_repository_without_a_bridge_is_refused_by_its_name(hub):
    hub.files["lab/llm"] = {"model.safetensors": b"", "pytorch_model.bin": b""}
    told = refusal(bridge_directory, "lab/llm")
    assert "no bridge in the repository lab/llm on the model hub (config.json is" in told
    assert not hub.downloads.exists()


# What the hub refuses


def test_a_mistyped_path_is_told_as_path_and_as_hub_name(hub):
    told = refusal(bridge_directory, "runs/nothing")
    assert told.startswith("There is no bridge in runs/nothing: it is not a directory here, and")
    assert "no such repository" in told and "check the path or the hub name" in told


@pytest.mark.parametrize(("error", "reason"), FAILURES, ids=lambda value: type(value).__name__)
def test_each_failure_of_the_hub_is_one_sentence(failing_hub, directory, bridge, error, reason):
    failing_hub(error)
    down = refusal(Bridge.from_pretrained, "lab/bridge")
    up = refusal(hub_module.push_directory, directory, "lab/bridge")
    assert reason in down and "lab/bridge" in down
    assert reason in up and "cannot be uploaded to lab/bridge" in up


def test_the_doctor_reports_a_bridge_that_is_not_to_be_had(failing_hub):
    failing_hub(TimeoutError())
    check = doctors_look(load_config(overrides=["bridge.path=lab/bridge"]))
    assert not check.ok and check.fix and "There is no bridge in lab/bridge" in check.found


def test_offline_the_real_library_asks_no_network(directory, monkeypatch):
    def no_network(*args, **kwargs):
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket, "getaddrinfo", no_network)
    assert "HF_HUB_OFFLINE is set" in refusal(bridge_directory, "runs/nothing")
    assert "HF_HUB_OFFLINE is set" in refusal(hub_module.push_directory, directory, "me/mine")


def test_errors_and_help_are_light(tmp_path):
    code = (
        "import sys\n"
        "from smotext_ray.cli.main import main\n"
        "for arguments in (\n"
        f"    ['bridge', 'push', 'me/mine', '--bridge', {str(tmp_path)!r}],\n"
        f"    ['bridge', 'card', '--bridge', {str(tmp_path)!r}, '--eval', 'no.json'],\n"
        "    ['bridge', 'push', '--help'], ['bridge', 'card', '--help'],\n"
        "):\n"
        "    try:\n"
        "        print(main(arguments), file=sys.stderr)\n"
        "    except SystemExit as end:\n"
        "        print(end.code, file=sys.stderr)\n"
        "print({'torch', 'ray', 'vllm', 'transformers'} & set(sys.modules), file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    lines = done.stderr.splitlines()
    assert [line for line in lines if not line.startswith("smotext: error")] == [
        *("2", "2", "0", "0", "set()"),
    ]
