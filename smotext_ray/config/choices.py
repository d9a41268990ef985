"""The words that a setting, an option or a column may hold, each list of them written once.

Models check them, the command line offers them (`typing.get_args`), mypy knows them.
"""

from __future__ import annotations

from typing import Literal

OnProblem = Literal["error", "skip"]  # what becomes of a row or class that cannot be used
OnBadRow = Literal[OnProblem, "replace"]  # "replace" puts another text in place of a bad one
TextFormat = Literal["csv", "tsv", "jsonl"]  # of files whose extension tells none
Quoting = Literal["quoted", "backslash", "none"]  # what a quote in a csv file is
Pooling = Literal["mean", "cls", "last"]
Metric = Literal["cosine", "euclidean"]
CleaningRule = Literal["enn", "tomek"]
OtherVariant = Literal["borderline", "adasyn", "kmeans", "svm"]  # of SMOTE
Variant = Literal["smote", OtherVariant]
LabelSets = Literal["ranking", "union", "intersection"]  # whose labels a point gets
OnLostLabel = Literal["drop", "reject"]  # what becomes of a text that has lost one of its labels
TrainingStage = Literal[1, 2]
Relation = Literal["add_or_remove", "replace"]  # how neighboring corpora differ

Decided = Literal["accepted", "rejected"]  # what the gate says of a sample
SampleStatus = Literal[Decided, "error"]

ClassifierName = Literal["embedding", "tfidf", "bert"]
ControlName = Literal["shuffled", "lam_0", "class_mean", "label_only", "parents_as_text"]
Order = Literal["random", "best", "worst"]
