"""In how many public directions should noised embeddings be released?

    python benchmarks/noise_dimensions.py --epsilon 8

Logistic regression trained on Reuters R8's training texts as a run with epsilon would know
them, tested on plain embeddings of its test texts: without noise in that many directions, as
noised, and denoised. Accuracy, macro F1; means over the draws of the noise.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Iterable

import numpy as np

from smotext_ray.config.load import load_config
from smotext_ray.config.schema import PrivacyConfig
from smotext_ray.privacy.denoise import ClassSums, fit_denoiser
from smotext_ray.privacy.directions import read_directions
from smotext_ray.privacy.mechanism import add_noise, clip, noise_scale


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epsilon", type=float, default=8.0)
    parser.add_argument("--clip-norm", type=float, default=0.5)
    parser.add_argument("--dimensions", type=int, nargs="+", default=[8, 16, 32, 64])
    parser.add_argument("--draws", type=int, default=3)
    options = parser.parse_args()

    from smotext_ray.corpus.demo import load_dataset
    from smotext_ray.models.load import load_encoder

    encoder, split = load_encoder(load_config("offline")), {}
    for name in ("train", "test"):
        table = load_dataset("reuters-r8", name)
        split[name] = encoder.encode(table["text"].to_pylist()), np.array(table["label"])
    privacy = PrivacyConfig(epsilon=options.epsilon, clip_norm=options.clip_norm)
    compare(privacy, options.dimensions, options.draws, *split["train"], *split["test"])


def compare(
    privacy: PrivacyConfig,
    dimensions: Iterable[int],
    draws: int,
    train: np.ndarray,
    labels: np.ndarray,
    test: np.ndarray,
    test_labels: np.ndarray,
) -> None:
    """Print a row a number of dimensions: accuracy and macro-averaged F1 of each."""
    scale = noise_scale(privacy)
    print("| dimensions | without noise | noised | denoised |")
    print("|---|---|---|---|")
    for count in dimensions:
        directions = read_directions(privacy.model_copy(update={"dimensions": count}))
        rows, classes = directions.coordinates(train), np.unique(labels, return_inverse=True)[1]
        probes = directions.coordinates(test)
        found: dict[str, list[np.ndarray]] = {"noised": [], "denoised": []}
        for _ in range(draws):
            noised = add_noise(clip(rows, privacy.clip_norm), scale)
            sums = ClassSums.of(noised, classes, classes.max() + 1)
            denoiser = fit_denoiser(sums, directions.variances, privacy.clip_norm, scale)
            denoised = denoiser(noised, classes)
            found["noised"].append(score(noised, labels, probes, test_labels))
            found["denoised"].append(score(denoised, labels, probes, test_labels))
        cells = [score(rows, labels, probes, test_labels)] + [
            np.mean(scores, axis=0) for scores in found.values()
        ]
        print(
            f"| {count} | " + " | ".join(f"{a:.3f}, {f:.3f}" for a, f in cells) + " |", flush=True
        )


def score(
    rows: np.ndarray, labels: np.ndarray, test: np.ndarray, test_labels: np.ndarray
) -> np.ndarray:
    """Accuracy and macro F1 of a classifier trained on the rows."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import accuracy_score, f1_score

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = LogisticRegression(C=10, max_iter=300, class_weight="balanced").fit(rows, labels)
    predicted = model.predict(test)
    f1 = f1_score(test_labels, predicted, average="macro")
    return np.array([accuracy_score(test_labels, predicted), f1])


if __name__ == "__main__":
    main()
