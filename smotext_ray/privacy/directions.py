"""The few directions in which embeddings are released, learned from public texts.

Noise affects every coordinate equally, while most of the information in embeddings is in a few
directions: the larger the noise, the fewer are worthwhile. These are the principal directions of
embeddings of public texts, so they reveal nothing about the records. They belong to one encoder;
for another, compute new ones:

    smotext directions --input public.parquet --output mine.safetensors \\
        encoder.model=BAAI/bge-small-en-v1.5 encoder.pooling=cls
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from smotext_ray.config.schema import EncoderConfig, PrivacyConfig
from smotext_ray.errors import UserError

DEFAULT = Path(__file__).parent / "default.safetensors"
MOST = 384  # kept in a file
# Default numbers of directions released: fewer if the noise is large, as measured by
# benchmarks/privacy.py.
FEW, FEW_BELOW_EPSILON = 128, 3.0
CHUNK = 4096  # texts


@dataclass(frozen=True)
class Directions:
    """A mean and the directions around it.

    Attributes
    ----------
    mean : ndarray of shape (d,), float32
    basis : ndarray of shape (d, k), float32
        Orthonormal columns, by descending variance.
    variances : ndarray of shape (k,), float32
        Variance of the public embeddings along each direction.
    """

    mean: np.ndarray
    basis: np.ndarray
    variances: np.ndarray

    def first(self, count: int) -> Directions:
        """Keep the directions with the most variance."""
        return Directions(self.mean, self.basis[:, :count], self.variances[:count])

    def coordinates(self, embeddings: np.ndarray) -> np.ndarray:
        """Project embeddings (n, d) to coordinates (n, k), float64."""
        return (np.asarray(embeddings, np.float64) - self.mean) @ self.basis

    def lift(self, coordinates: np.ndarray) -> np.ndarray:
        """Map coordinates (n, k) back to embeddings (n, d), float64."""
        return np.asarray(self.mean + coordinates @ self.basis.T, np.float64)


def principal_directions(chunks: Iterable[np.ndarray], most: int = MOST) -> Directions:
    """Compute principal directions of embeddings in one pass.

    Parameters
    ----------
    chunks : iterable of ndarray of shape (n, d)
        Not empty.
    most : int, default=384

    Returns
    -------
    Directions
        At most ``d`` directions.
    """
    count, total, scatter = 0, np.zeros(1), np.zeros((1, 1))
    for chunk in chunks:
        x = chunk.astype(np.float64)
        count, total, scatter = count + len(x), total + x.sum(0), scatter + x.T @ x
    mean = total / count
    values, vectors = np.linalg.eigh(scatter / count - np.outer(mean, mean))
    return Directions(
        mean.astype(np.float32),
        np.ascontiguousarray(vectors[:, ::-1][:, :most], np.float32),
        np.maximum(values[::-1][:most], 0).astype(np.float32),
    )


def write_directions(
    directions: Directions, file: Path, encoder: EncoderConfig, sha256: str, source: str
) -> None:
    """Write a safetensors file that records its encoder and what texts it was computed from."""
    tensors = {
        "mean": directions.mean,
        "basis": directions.basis,
        "variances": directions.variances,
    }
    facts = {"encoder": json.dumps(_identity(encoder, sha256)), "source": source}
    file.write_bytes(save(tensors, metadata=facts))


def source_of(name: str, texts: Sequence[str]) -> str:
    """The source of directions, for an auditor: name, number and digest of the texts.

    Examples
    --------
    >>> source_of("news.txt", ["one", "two"])[:35]
    'news.txt: 2 texts, SHA-256 00db5aa8'
    """
    digest = hashlib.sha256()
    for text in texts:
        digest.update(text.encode() + b"\0")
    return f"{name}: {len(texts)} texts, SHA-256 {digest.hexdigest()}"


def read_directions(privacy: PrivacyConfig) -> Directions:
    """Read the directions for a run.

    Raises
    ------
    UserError
        If the file is missing, is not a file of directions, or has too few of them.
    """
    try:
        with safe_open(_file(privacy), framework="np") as tensors:
            found = Directions(*(tensors.get_tensor(n) for n in ("mean", "basis", "variances")))
    except (OSError, SafetensorError) as error:
        raise UserError(
            f"The public directions {_file(privacy)} cannot be read ({error}); create them "
            "with smotext directions."
        ) from error
    there, wanted = len(found.variances), privacy.dimensions
    if wanted is not None and wanted > there:
        raise UserError(
            f"privacy.dimensions is {wanted}, but {_file(privacy)} has only "
            f"{there} directions; lower privacy.dimensions."
        )
    if wanted is None:
        assert privacy.epsilon is not None
        wanted = FEW if privacy.epsilon < FEW_BELOW_EPSILON else MOST
    return found.first(min(wanted, there))


def check_directions(privacy: PrivacyConfig, encoder: EncoderConfig, sha256: str) -> dict[str, str]:
    """Check that a run's directions were computed with its encoder.

    Parameters
    ----------
    privacy : PrivacyConfig
    encoder : EncoderConfig
    sha256 : str
        Digest of the encoder's weights.

    Returns
    -------
    dict
        ``name``, ``sha256`` and ``source`` of the directions, for the manifest.

    Raises
    ------
    UserError
        As in `read_directions`, or if they belong to another encoder.
    """
    read_directions(privacy)
    file = _file(privacy)
    with safe_open(file, framework="np") as tensors:
        facts = tensors.metadata() or {}
        made_with = json.loads(facts.get("encoder", "{}"))
    if made_with != _identity(encoder, sha256):
        raise UserError(
            f"The public directions {file} were computed with another "
            f"encoder than {encoder.model}, "
            "or with another pooling; create new ones with smotext directions and set "
            "privacy.directions."
        )
    return {
        "name": privacy.directions,
        "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
        "source": facts.get("source", "texts that its file does not name"),
    }


def _identity(encoder: EncoderConfig, sha256: str) -> dict[str, str | bool]:
    return {
        "weights": sha256 or encoder.model,  # a hub name has no digest here
        "pooling": encoder.pooling,
        "normalize": encoder.normalize,
    }


def _file(privacy: PrivacyConfig) -> Path:
    return DEFAULT if privacy.directions == "default" else Path(privacy.directions)
