"""Does naming the class in the prompt help? The class's name before the soft tokens, or not.

    python benchmarks/label_hints.py --input trec6-test.parquet --bridge default

Greedy texts of the first rows: their mean cosine to the source, and how often they are
nearest to the source's class.
"""

from __future__ import annotations

import argparse
from typing import Any

HINTS = ("", "{label}: ", "A text about {label}: ", "Class: {label}\nText: ")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--input", required=True)
    parser.add_argument("--label-column", default="label")
    parser.add_argument("--bridge", default="default")
    parser.add_argument("--rows", type=int, default=200)
    options = parser.parse_args()

    from smotext_ray.config.load import load_config
    from smotext_ray.corpus.texts import read_labeled_texts
    from smotext_ray.models.decoder import Decoder
    from smotext_ray.models.encoder import Encoder
    from smotext_ray.models.files import locate_model
    from smotext_ray.models.load import load_bridge
    from smotext_ray.training import evaluate as measure

    texts, labels = read_labeled_texts(options.input, "text", options.label_column, options.rows)
    assert labels is not None
    config, (bridge, lora) = load_config("offline"), load_bridge(options.bridge)
    encoder = Encoder(locate_model(config.encoder.model).path)
    x = encoder.encode(texts)
    llm = locate_model(config.decoder.model).path
    decoder = Decoder(llm, bridge, lora=lora, max_tokens=config.decoder.max_tokens, temperature=0)
    tokenizer = decoder._engine.llm.get_tokenizer()
    table = embedding_table(llm)
    print("| before the soft tokens | cosine to the source | class kept |")
    print("|---|---|---|")
    for hint in HINTS:
        decoded = [""] * len(texts)
        for label in sorted(set(labels)):
            words = hint.format(label=str(label).replace("_", " ").replace("-", " "))
            bridge.before = table[tokenizer(words, add_special_tokens=False)["input_ids"]]
            rows = [row for row, other in enumerate(labels) if other == label]
            for row, found in zip(rows, decoder.decode(x[rows], rows), strict=True):
                decoded[row] = found.texts[0] if found.texts else ""
        y = encoder.encode(decoded)
        cosine, kept = float((x * y).sum(1).mean()), measure._class_agreement(x, y, labels)
        print(f"| {hint!r} | {cosine:.3f} | {kept:.0%} |", flush=True)


def embedding_table(llm: str) -> Any:
    """The LLM's input embeddings, float32."""
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(llm).get_input_embeddings().weight.detach().float()


if __name__ == "__main__":
    main()
