"""Teachers: classifiers whose probabilities become the soft labels of new texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from smotext_ray.errors import UserError, one_line
from smotext_ray.evaluation.material import Material
from smotext_ray.evaluation.utility.classifiers import embedding_model
from smotext_ray.evaluation.utility.fine_tuning import logits, tokens_of
from smotext_ray.models.files import locate_model

MAX_TOKENS = 512  # of a text, where a Hugging Face teacher reads so many


@dataclass(frozen=True, eq=False)
class Taught:
    """What a teacher says of the new texts of a run, and of its test texts.

    Attributes
    ----------
    teacher : str
        What it is, in words.
    classes : list of str
        Those of the corpus, sorted.
    new, test : ndarray of shape (texts, classes), float32
        A row's probabilities; they sum to 1.
    """

    teacher: str
    classes: list[str]
    new: np.ndarray
    test: np.ndarray


def teach_by_embeddings(material: Material) -> Taught:
    """Let logistic regression on the embeddings of all real rows teach.

    It is the classifier of `utility.fit_embedding`. It has seen the parents of the new texts.
    """
    from sklearn.preprocessing import normalize

    model = embedding_model(material.real, seed=0)
    new, test = (
        model.predict_proba(normalize(rows.embeddings)).astype(np.float32)
        for rows in (material.synthetic, material.test)
    )
    classes = [str(label) for label in model.classes_]
    return Taught("logistic regression on embeddings", classes, new, test)


@dataclass(frozen=True, eq=False)
class HubClassifier:
    """A Hugging Face sequence classifier for the classes of a corpus, loaded.

    Attributes
    ----------
    name : str
    model, tokenizer : object
    classes : list of str
        In the order of its outputs.
    """

    name: str
    model: Any
    tokenizer: Any
    classes: list[str]

    def teach(self, material: Material) -> Taught:
        """Let it teach; it reads texts, and is taken as it is."""
        from scipy.special import softmax

        tokens = tokens_of(self.tokenizer, self.model.device, MAX_TOKENS)
        order = np.argsort(self.classes)
        new, test = (
            softmax(logits(self.model, tokens, rows.texts), axis=1)[:, order]
            for rows in (material.synthetic, material.test)
        )
        return Taught(self.name, sorted(self.classes), new, test)


def load_classifier(spec: str, labels: Sequence[str]) -> HubClassifier:
    """Load a Hugging Face classifier; only safetensors, which can hold no code.

    Parameters
    ----------
    spec : str
        Directory or hub name.
    labels : sequence of str
        The classes of the corpus, which must be those of the classifier.

    Raises
    ------
    UserError
        If it cannot be loaded, is not trained to classify, or has other classes.
    """
    import torch
    from safetensors import SafetensorError
    from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

    path = locate_model(spec).path
    try:
        classes = _checked(spec, AutoConfig.from_pretrained(path).id2label, labels)
        model, loading = AutoModelForSequenceClassification.from_pretrained(
            path, use_safetensors=True, output_loading_info=True, dtype=torch.float32
        )
        tokenizer = AutoTokenizer.from_pretrained(path)
    except (OSError, ValueError, SafetensorError) as error:
        raise UserError(
            f"The teacher {spec} cannot be loaded ({one_line(error)}); give 'embedding', or a "
            "directory or hub name of a sequence classifier with safetensors."
        ) from error
    if loading["missing_keys"]:
        raise UserError(
            f"The teacher {spec} is not trained to classify: it lacks weights "
            f"({', '.join(sorted(loading['missing_keys'])[:3])}); give one that is."
        )
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return HubClassifier(spec, model.to(device), tokenizer, classes)


def _checked(spec: str, id2label: dict[int, str], labels: Sequence[str]) -> list[str]:
    classes = [str(id2label[i]) for i in sorted(id2label)]
    if sorted(classes) != sorted(labels):
        raise UserError(
            f"The teacher {spec} tells {', '.join(classes[:5])} apart, and the run has the classes "
            f"{', '.join(sorted(labels)[:5])}; its id2label must name the run's classes."
        )
    return classes
