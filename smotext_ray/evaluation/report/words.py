"""What the report and the terminal call arms, classifiers and metrics."""

from __future__ import annotations

# Groups in the order of the page; an arm that is missing here is shown by its own name.
ARM_GROUPS: dict[str, dict[str, str]] = {
    "Real texts": {"nothing": "real texts alone", "real_only": "real texts alone"},
    "Standard baselines": {
        "class_weights": "class weights",
        "random_oversampling": "random oversampling",
        "embedding_smote": "SMOTE on embeddings",
        "embedding_borderline": "Borderline-SMOTE on embeddings",
        "embedding_adasyn": "ADASYN on embeddings",
        "embedding_kmeans": "KMeans-SMOTE on embeddings",
        "embedding_svm": "SVM-SMOTE on embeddings",
        "eda": "EDA",
        "eda_without_synonyms": "EDA without synonyms",
        "markov": "Markov chain of each class",
        "nearest_centroid": "nearest class mean",
        "prior_corrected": "corrected class priors",
        "contrastive": "fine-tuned on pairs (SetFit)",
        "gate_alone": "the gate's class check as classifier",
    },
    "Controls for interpolation": {
        "label_only": "LLM, class name only",
        "shuffled": "vectors shuffled",
        "lam_0": "parents decoded again (lam 0)",
        "class_mean": "mean of the class decoded",
        "parents_as_text": "LLM, parents as text",
        "ungated": "all decoded texts, without the gate",
        "labeled_by_gate": "all decoded texts, labeled by the gate",
    },
    "As many synthetic texts as a control has": {
        "as_many_as_label_only": "real + synthetic, as many as by class name",
        "as_many_as_shuffled": "real + synthetic, as many as shuffled",
        "as_many_as_class_mean": "real + synthetic, as many as by the class mean",
        "as_many_as_lam_0": "real + synthetic, as many as at lam 0",
        "as_many_as_ungated": "real + synthetic, as many as without the gate",
        "as_many_as_labeled_by_gate": "real + synthetic, as many as labeled by the gate",
        "as_many_as_parents_as_text": "real + synthetic, as many as by parents as text",
    },
    "SMOTExT": {
        "synthetic_only": "synthetic only",
        "real_and_synthetic": "real + synthetic",
        "weighted_by_class": "real + synthetic, weighted by class",
        "nearest_centroid_of_both": "real + synthetic, nearest class mean",
        "contrastive_of_both": "real + synthetic, fine-tuned on pairs",
    },
}
ARMS = {arm: words for group in ARM_GROUPS.values() for arm, words in group.items()}
CLASSIFIERS = {
    "bert": "fine-tuned BERT",
    "embedding": "logistic regression on embeddings",
    "tfidf": "linear SVM on TF-IDF",
}
METRICS = {
    "macro_f1": "macro-F1",
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
}


def in_words(name: str) -> str:
    """An arm, classifier or metric in words.

    Examples
    --------
    >>> in_words("eda_without_synonyms"), in_words("some_arm")
    ('EDA without synonyms', 'some arm')
    """
    known = {**ARMS, **CLASSIFIERS, **METRICS}
    return known.get(name, name.replace("_", " "))
