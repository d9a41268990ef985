"""Teachers: classifiers whose probabilities become soft labels of synthetic texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from smotext_ray.errors import UserError, one_line
from smotext_ray.evaluation.inputs import EvaluationData
from smotext_ray.evaluation.utility.features import unit_rows
from smotext_ray.evaluation.utility.fine_tuning import logits, tokens_of
from smotext_ray.models.files import locate_model
from smotext_ray.models.pretrained import load_pretrained

MAX_TOKENS = 512  # per text, or fewer if a Hugging Face teacher's limit is lower


@dataclass(frozen=True, eq=False)
class TeacherLabels:
    """A teacher's probabilities for a run's synthetic texts and for the test texts.

    Attributes
    ----------
    teacher : str
        Description of the teacher.
    classes : list of str
        Classes of the corpus, sorted.
    new, test : ndarray of shape (texts, classes), float32
        Class probabilities; each row sums to 1.
    """

    teacher: str
    classes: list[str]
    new: np.ndarray
    test: np.ndarray


def teach_by_embeddings(material: EvaluationData) -> TeacherLabels:
    """Teach with logistic regression, C=10, on the embeddings of all real rows.

    It has seen the synthetic texts' parents.
    """
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=10, max_iter=2000)
    model.fit(unit_rows(material.real), material.real.labels)
    new, test = (
        model.predict_proba(unit_rows(rows)).astype(np.float32)
        for rows in (material.synthetic, material.test)
    )
    classes = [str(label) for label in model.classes_]
    return TeacherLabels("logistic regression on embeddings", classes, new, test)


@dataclass(frozen=True, eq=False)
class HubClassifier:
    """A loaded Hugging Face sequence classifier for the classes of a corpus.

    Attributes
    ----------
    name : str
    model, tokenizer : object
    classes : list of str
        Classes in the order of the model's outputs.
    """

    name: str
    model: Any
    tokenizer: Any
    classes: list[str]

    def teach(self, material: EvaluationData) -> TeacherLabels:
        """Teach with the classifier as it is; it reads texts."""
        from scipy.special import softmax

        tokens = tokens_of(self.tokenizer, self.model.device, MAX_TOKENS)
        order = np.argsort(self.classes)
        new, test = (
            softmax(logits(self.model, tokens, rows.texts), axis=1)[:, order]
            for rows in (material.synthetic, material.test)
        )
        return TeacherLabels(self.name, sorted(self.classes), new, test)


def load_classifier(spec: str, labels: Sequence[str]) -> HubClassifier:
    """Load a Hugging Face classifier; safetensors only, which cannot contain code.

    Parameters
    ----------
    spec : str
        Directory or hub name.
    labels : sequence of str
        The classes of the corpus, which must match the classifier's.

    Raises
    ------
    UserError
        If it cannot be loaded, is not a trained classifier, or has other classes.
    """
    import torch
    from safetensors import SafetensorError
    from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

    from smotext_ray.models.encoder import default_device

    path = locate_model(spec).path
    try:
        classes = _checked(spec, load_pretrained(AutoConfig, path).id2label, labels)
        model, loading = load_pretrained(
            AutoModelForSequenceClassification,
            path,
            use_safetensors=True,
            output_loading_info=True,
            dtype=torch.float32,
        )
        tokenizer = load_pretrained(AutoTokenizer, path)
    except (OSError, ValueError, SafetensorError) as error:
        raise UserError(
            f"The teacher {spec} cannot be loaded ({one_line(error)}); give 'embedding', or a "
            "directory or hub name of a sequence classifier with safetensors."
        ) from error
    if loading["missing_keys"]:
        raise UserError(
            f"The teacher {spec} is not a trained classifier: it lacks weights "
            f"({', '.join(sorted(loading['missing_keys'])[:3])}); give one that is."
        )
    return HubClassifier(spec, model.to(default_device()), tokenizer, classes)


def _checked(spec: str, id2label: dict[int, str], labels: Sequence[str]) -> list[str]:
    classes = [str(id2label[i]) for i in sorted(id2label)]
    if sorted(classes) != sorted(labels):
        raise UserError(
            f"The teacher {spec} has the classes {', '.join(classes[:5])}, but the run has "
            f"{', '.join(sorted(labels)[:5])}; its id2label must name the run's classes."
        )
    return classes
