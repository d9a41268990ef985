"""Directions come from public texts alone and belong to one encoder."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from safetensors.numpy import save_file
from tiny_models import HIDDEN, WORDS, tiny_encoder

from smotext_ray.config.schema import EncoderConfig, PrivacyConfig
from smotext_ray.errors import UserError
from smotext_ray.models.bridge_config import read_bridge_config
from smotext_ray.models.files import DEFAULT_BRIDGE, locate_model
from smotext_ray.privacy.directions import (
    Directions,
    check_directions,
    principal_directions,
    read_directions,
    write_directions,
)

ENCODER = EncoderConfig(model="some/encoder")


@pytest.fixture
def embeddings():
    random = np.random.default_rng(0)
    return (random.normal(size=(300, 6)) * [3, 2, 1, 0.5, 0.2, 0.1] + 4).astype(np.float32)


@pytest.fixture
def privacy(tmp_path, embeddings):
    file = tmp_path / "mine.safetensors"
    write_directions(principal_directions([embeddings], most=4), file, ENCODER, "abc", "made: 300")
    return PrivacyConfig(epsilon=1.0, dimensions=3, directions=str(file))


def test_they_are_the_principal_directions_however_the_texts_are_cut(embeddings):
    found = principal_directions([embeddings[:7], embeddings[7:7], embeddings[7:]], most=4)
    centred = embeddings.astype(float) - embeddings.mean(0)
    _, lengths, directions = np.linalg.svd(centred, full_matrices=False)
    np.testing.assert_allclose(found.variances, lengths[:4] ** 2 / 300, rtol=1e-4)
    np.testing.assert_allclose(np.abs(directions[:4] @ found.basis), np.eye(4), atol=1e-4)
    np.testing.assert_allclose(found.mean, embeddings.mean(0), rtol=1e-5)


def test_what_lies_in_them_comes_back(embeddings):
    found = principal_directions([embeddings], most=3)
    coordinates = found.coordinates(embeddings)
    assert coordinates.shape == (300, 3)
    np.testing.assert_allclose(found.coordinates(found.lift(coordinates)), coordinates, atol=1e-4)


def test_a_file_holds_them_and_a_run_takes_the_first(privacy, embeddings):
    found = read_directions(privacy)
    expected = principal_directions([embeddings], most=3)
    np.testing.assert_array_equal(found.basis, expected.basis)
    np.testing.assert_array_equal(found.variances, expected.variances)
    facts = check_directions(privacy, ENCODER, "abc")
    assert facts["name"] == privacy.directions and len(facts["sha256"]) == 64
    assert facts["source"] == "made: 300"


@pytest.mark.parametrize(
    ("encoder", "sha256"), [(ENCODER, "abd"), (EncoderConfig(pooling="cls"), "abc")]
)
def test_another_encoder_is_refused(privacy, encoder, sha256):
    with pytest.raises(UserError, match=r"smotext directions"):
        check_directions(privacy, encoder, sha256)


def test_more_than_there_are_is_refused(privacy):
    with pytest.raises(UserError, match="has only 4 directions"):
        read_directions(privacy.model_copy(update={"dimensions": 5}))


@pytest.mark.parametrize(("epsilon", "taken"), [(2.9, 128), (3.0, 300)])
def test_without_a_number_a_run_takes_fewer_where_the_noise_is_large(tmp_path, epsilon, taken):
    file = tmp_path / "wide.safetensors"
    made = Directions(np.zeros(300, np.float32), np.eye(300, dtype=np.float32), np.ones(300))
    write_directions(made, file, ENCODER, "abc", "made")
    privacy = PrivacyConfig(epsilon=epsilon, directions=str(file))
    assert len(read_directions(privacy).variances) == taken


@pytest.mark.parametrize("content", [None, b"no tensors", {"mean": np.zeros(3)}])
def test_a_file_of_something_else_is_refused(tmp_path, content):
    file = tmp_path / "odd.safetensors"
    if isinstance(content, dict):
        save_file(content, file)
    elif content is not None:
        file.write_bytes(content)
    with pytest.raises(UserError, match="cannot be read"):
        read_directions(PrivacyConfig(epsilon=1.0, directions=str(file)))


def test_the_package_carries_those_of_its_encoder():
    privacy = PrivacyConfig(epsilon=8.0)
    digest = read_bridge_config(DEFAULT_BRIDGE).encoder_sha256
    check_directions(privacy, EncoderConfig(), digest)
    basis = read_directions(privacy).basis
    np.testing.assert_allclose(basis.T @ basis, np.eye(basis.shape[1]), atol=1e-5)


def test_the_command_makes_them_of_texts(tmp_path):
    model = tiny_encoder(tmp_path / "encoder")
    texts, output = tmp_path / "public.txt", tmp_path / "made.safetensors"
    texts.write_text("\n".join(f"{a} {b}" for a in WORDS for b in WORDS[:4]))
    smotext = [sys.executable, "-m", "smotext_ray.cli.main"]
    command = [*smotext, "directions", "--input", str(texts)]
    made = [*command, "--output", str(output), f"encoder.model={model}"]
    subprocess.run(made, check=True, capture_output=True)
    privacy = PrivacyConfig(epsilon=1.0, dimensions=8, directions=str(output))
    encoder = EncoderConfig(model=str(model))
    check_directions(privacy, encoder, locate_model(str(model)).sha256)
    assert read_directions(privacy).basis.shape == (HIDDEN, 8)
    texts.unlink()
    failed = subprocess.run(made, capture_output=True, text=True)
    assert failed.returncode == 2 and failed.stderr.startswith("smotext: error: ")
