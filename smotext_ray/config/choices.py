"""The allowed values of settings, options and columns, each list defined once.

Pydantic validates them, the command line offers them (`typing.get_args`), mypy checks them.
"""

from __future__ import annotations

from typing import Literal

OnProblem = Literal["error", "skip"]  # what to do with a row or class that cannot be used
OnBadRow = Literal[OnProblem, "replace"]  # "replace" puts another text in place of a bad one
TextFormat = Literal["csv", "tsv", "jsonl"]  # for files without a known extension
Quoting = Literal["quoted", "backslash", "none"]  # what a quote in a csv file means
Pooling = Literal["mean", "cls", "last"]
Metric = Literal["cosine", "euclidean"]
CleaningRule = Literal["enn", "tomek"]
OtherVariant = Literal["borderline", "adasyn", "kmeans", "svm"]  # of SMOTE
Variant = Literal["smote", OtherVariant]
LabelSets = Literal["ranking", "union", "intersection"]  # whose labels a point gets
OnLostLabel = Literal["drop", "reject"]  # what to do with a text that lost a label
TrainingStage = Literal[1, 2, 3]
Relation = Literal["add_or_remove", "replace"]  # how neighboring corpora differ

Decided = Literal["accepted", "rejected"]  # the gate's decision on a sample
SampleStatus = Literal[Decided, "error"]

ClassifierName = Literal["embedding", "tfidf", "bert"]
ControlName = Literal["shuffled", "lam_0", "class_mean", "label_only", "parents_as_text"]
Order = Literal["random", "best", "worst"]
