"""How varied are texts of points, against texts of the plain LLM at several temperatures?

    python benchmarks/diversity.py RUN --dataset customer-reviews --data DIR

Decodes points of a run, and asks the plain LLM, which has no vector, for as many texts of the same
classes, at each temperature. Prints how many texts a classifier of the dataset's whole training
split takes for their class, and distinct-2 within classes on equal numbers of words. A method is
more varied only where it is so at an equal share of texts of the right class.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
from utility import FILES, PACKAGED, read_split

from smotext_ray.errors import UserError

TEMPERATURES = (0.4, 0.7, 1.0, 1.3)


def main() -> int:
    options = run_options(__doc__, points=200).parse_args()
    try:
        show(options)
    except UserError as error:
        print(f"diversity.py: error: {error}", file=sys.stderr)
        return 2
    return 0


def run_options(description: str | None, points: int) -> argparse.ArgumentParser:
    """A parser of what every benchmark of a run's points asks for."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", help="directory of a run")
    parser.add_argument("--dataset", required=True, choices=[*PACKAGED, *FILES])
    parser.add_argument("--data", type=Path, help="directory of the sets that are not packaged")
    parser.add_argument("--points", type=int, default=points, help="most that are decoded")
    return parser


def drawn_points(run: Any, most: int) -> Any:
    """Rows of a run's plan, drawn at random if there are more."""
    plan = run.table("plan").to_table().sort_by("sample_id")
    rows = np.random.default_rng(0).permutation(len(plan))[:most]
    return plan.take(np.sort(rows))


def show(options: argparse.Namespace) -> None:
    """Print the table of a run."""
    from smotext_ray.evaluation.fidelity.diversity import distinct_by_class
    from smotext_ray.models.load import load_encoder
    from smotext_ray.run.directory import Run
    from smotext_ray.run.manifest import Manifest

    run = Run(options.run)
    config = Manifest.read(run).config
    plan = drawn_points(run, options.points)
    labels = [str(label) for label in plan["label"].to_pylist()]
    encoder = load_encoder(config)
    predict = classifier(read_split(options, "train"), encoder)
    sides: dict[Any, tuple[list[str], list[str]]] = {}
    for name, texts_at in (("points", of_points), ("plain LLM", of_labels)):
        sides |= {(name, t): (texts, labels) for t, texts in texts_at(config, plan).items()}
    train = run.table("embeddings").to_table(columns=["text", "label"])
    sides["the real rows", None] = (
        train["text"].to_pylist(),
        [str(label) for label in train["label"].to_pylist()],
    )
    distinct: dict[Any, float] = distinct_by_class(sides)
    print("| texts | temperature | of the right class | distinct-2 | words |")
    print("|---|---|---|---|---|")
    for key, (texts, of) in sides.items():
        right = np.mean(np.asarray(predict(texts)) == np.asarray(of))
        words = np.median([len(text.split()) for text in texts])
        temperature = "" if key[1] is None else key[1]
        print(f"| {key[0]} | {temperature} | {right:.0%} | {distinct[key]:.3f} | {words:.0f} |")


def classifier(train: Any, encoder: Any) -> Any:
    """Texts to labels, by logistic regression on embeddings of a whole training split."""
    from sklearn.linear_model import LogisticRegression

    x = encoder.encode(train["text"].to_pylist())
    model = LogisticRegression(C=10, max_iter=2000, class_weight="balanced")
    model.fit(x, train["label"].to_pylist())
    return lambda texts: model.predict(encoder.encode(texts))


def of_points(config: Any, plan: Any) -> dict[float, list[str]]:
    """A text for each point, at each temperature."""
    from smotext_ray.models.load import load_decoder
    from smotext_ray.pipeline.actors import decode_points

    decoder = load_decoder(config)
    found = {}
    for temperature in TEMPERATURES:
        decoder.set_sampling(1, temperature)
        found[temperature] = [answer.texts[0] for answer in decode_points(plan, decoder)]
    return found


def plain_llm(config: Any, labels: list[str]) -> tuple[Any, list[dict[str, Any]]]:
    """The LLM without a bridge, and the prompts that ask it for a text on each label."""
    from transformers import AutoTokenizer

    from smotext_ray.evaluation.controls.prompts import of_label
    from smotext_ray.models.engine import Engine
    from smotext_ray.models.files import locate_model

    llm = locate_model(config.decoder.model).path
    tokenizer = AutoTokenizer.from_pretrained(llm)
    prompts = [{"prompt_token_ids": of_label({"label": name}, tokenizer)} for name in labels]
    longest = max(len(prompt["prompt_token_ids"]) for prompt in prompts)
    settings = config.decoder.model_dump(exclude={"model", "int8", "min_length", "num_candidates"})
    return Engine(llm, longest, expected_texts=len(labels), **settings), prompts


def of_labels(config: Any, plan: Any) -> dict[float, list[str]]:
    """A text of the plain LLM for each point's label, at each temperature."""
    engine, prompts = plain_llm(config, plan["label"].to_pylist())
    found = {}
    for temperature in TEMPERATURES:
        engine.set_sampling(1, temperature)
        answers = engine.generate(prompts, plan["seed"].to_pylist())
        found[temperature] = [answer.texts[0] for answer in answers]
    return found


if __name__ == "__main__":
    sys.exit(main())
