"""SMOTExT as an over-sampler of imbalanced-learn: lists and frames of texts in, the same out."""

from __future__ import annotations

import tempfile
import warnings
from collections import Counter
from collections.abc import Mapping
from functools import lru_cache
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from imblearn.over_sampling.base import BaseOverSampler
from imblearn.utils import check_sampling_strategy, check_target_type
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, clone
from sklearn.preprocessing import label_binarize
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted

from smotext_ray.api.containers import read_texts
from smotext_ray.config.schema import RunConfig
from smotext_ray.errors import UserError
from smotext_ray.plan.neighbors import Metric, nearest_neighbors
from smotext_ray.tables import FRAME_LINEAGE, KEPT_OTHERS

# From here on "auto" means Ray: about where starting it costs less than it brings.
MANY_ROWS, MANY_NEW = 20_000, 2_000


class SMOTExT(BaseOverSampler):
    """Over-sample texts by texts that a language model reads out of interpolated embeddings.

    SMOTE's points between a text and a neighbour of its class, in the space of a sentence
    encoder, are turned into texts by a bridge and an LLM, and kept if they pass a gate [1]_.

    Parameters
    ----------
    sampling_strategy : str, float, dict or callable, default="auto"
        As in every over-sampler of imbalanced-learn.
    variant : {"smote", "borderline", "adasyn", "kmeans", "svm"}, default="smote"
        Which texts the points start from: those of imbalanced-learn's SMOTE, BorderlineSMOTE
        (of kind "borderline-1"), ADASYN, KMeansSMOTE and SVMSMOTE. A class in which the
        variant finds no such text is left as it is, with a warning.
    k_neighbors : int or object, default=5
        Neighbours of its class that a text is interpolated with, or an object with ``fit``
        and ``kneighbors`` that is to find them, itself first. It is not changed.
    m_neighbors : int, default=10
        Neighbours of any class that tell "borderline" and "svm" which texts are in danger.
    n_clusters : int, default=8
        Of "kmeans".
    neighbors_per_point : int, default=1
        Neighbours that a point lies between, beside its text: of more than one, their weights
        follow the law Dirichlet(alpha, ..., alpha).
    alpha : float, default=1.0
        The place between two texts follows the law Beta(alpha, alpha): 1 is SMOTE's
        uniform one, less favours points near a text, more those half way.
    random_state : int, RandomState or None, default=None
        An int is the seed of the plan, as ``plan.seed`` is that of a run.
    encoder, decoder, gate : mapping or object, optional
        Settings of the sections ``encoder``, ``decoder`` and ``gate`` of the configuration
        (``{"model": ...}``, ``{"temperature": 0.9}``), over those of the preset ``offline``. Or an
        encoder with ``encode(texts, batch_size)``, and a decoder with ``decode(points,
        seeds)``, of your own.
    bridge : str, default="default"
        Directory or hub name of the bridge between encoder and LLM.
    text_column : str, default="text"
        Of a DataFrame or dataset.
    on_ray : bool or "auto", default="auto"
        Whether to work on Ray (``RAY_ADDRESS`` names a cluster) or in this process. "auto":
        on Ray for more than 20,000 texts, or 2,000 to be made.
    output : str, optional
        Where a run on Ray is kept; on a cluster, where all nodes reach it. Default: a
        temporary directory of this machine.

    Attributes
    ----------
    sampling_strategy_ : dict
        Class label -> new texts that were asked for.
    nn_k_ : object
        What finds the neighbours.
    lineage_ : DataFrame
        A row a new text: its ``row`` in the result, the rows ``source_id`` and ``neighbor_id``
        of its parents, ``lam``, ``cosine_to_point``, ``seed`` and ``round``; with more than one
        of ``neighbors_per_point`` also lists of the ``other_neighbor_ids`` and ``other_lams``.
    n_features_in_ : int

    Notes
    -----
    Models are loaded once a process and kept for later fits. A class that falls short of its
    target after three rounds stays short, with a warning.

    References
    ----------
    .. [1] SMOTE meets Large Language Models, arXiv:2505.13434, 2025.

    Examples
    --------
    >>> from smotext_ray import SMOTExT
    >>> sampler = SMOTExT(sampling_strategy={"grain": 160}, random_state=0)
    >>> texts, labels = sampler.fit_resample(texts, labels)  # doctest: +SKIP
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **BaseOverSampler._parameter_constraints,
        "variant": [StrOptions({"smote", "borderline", "adasyn", "kmeans", "svm"})],
        "k_neighbors": "no_validation",
        "m_neighbors": [Interval(Integral, 1, None, closed="left")],
        "n_clusters": [Interval(Integral, 1, None, closed="left")],
        "neighbors_per_point": [Interval(Integral, 1, None, closed="left")],
        "alpha": [Interval(Real, 0, None, closed="neither")],
        "random_state": ["random_state"],
        "encoder": "no_validation",
        "decoder": "no_validation",
        "gate": [dict, None],
        "bridge": [str],
        "text_column": [str],
        "on_ray": ["boolean", StrOptions({"auto"})],
        "output": [str, None],
    }

    def __init__(
        self,
        *,
        sampling_strategy: Any = "auto",
        variant: str = "smote",
        k_neighbors: Any = 5,
        m_neighbors: int = 10,
        n_clusters: int = 8,
        neighbors_per_point: int = 1,
        alpha: float = 1.0,
        random_state: Any = None,
        encoder: Any = None,
        bridge: str = "default",
        decoder: Any = None,
        gate: Mapping[str, Any] | None = None,
        text_column: str = "text",
        on_ray: bool | str = "auto",
        output: str | None = None,
    ) -> None:
        super().__init__(sampling_strategy=sampling_strategy)
        self.variant = variant
        self.k_neighbors = k_neighbors
        self.m_neighbors = m_neighbors
        self.n_clusters = n_clusters
        self.neighbors_per_point = neighbors_per_point
        self.alpha = alpha
        self.random_state = random_state
        self.encoder = encoder
        self.bridge = bridge
        self.decoder = decoder
        self.gate = gate
        self.text_column = text_column
        self.on_ray = on_ray
        self.output = output

    def fit(self, X: Any, y: Any, **params: Any) -> SMOTExT:
        """Check the input and find how many texts each class would get."""
        self._begin(X, y)
        return self

    def fit_resample(self, X: Any, y: Any, **params: Any) -> tuple[Any, Any]:
        """Make new texts.

        Parameters
        ----------
        X : list, Series, DataFrame, ndarray of shape (n,) or (n, 1), or datasets.Dataset
            Texts. Of a frame or dataset with further columns the new rows have no value there.
        y : array-like of shape (n,)
            Labels.

        Returns
        -------
        X_resampled, y_resampled
            Of the same kinds: the given rows first, then the new ones.

        Raises
        ------
        ValueError
            For labels or a strategy that do not fit, a text that is none, or a class of one
            distinct text.
        """
        texts, labels, extend, is_binarized = self._begin(X, y)
        new_texts, new_labels = self._fit_resample(texts, labels)
        y_all = np.concatenate([labels, np.asarray(new_labels, dtype=labels.dtype)])
        if is_binarized:
            y_all = label_binarize(y_all, classes=np.unique(labels))
        return extend(new_texts), _like(y, y_all)

    def _begin(self, X: Any, y: Any) -> tuple[list[str], NDArray[Any], Any, bool]:
        self._validate_params()
        check_classification_targets(y)
        labels, is_binarized = check_target_type(y, indicate_one_vs_all=True)
        labels = np.asarray(labels)
        texts, extend = read_texts(X, self.text_column)
        _check_texts(texts, labels)
        columns = getattr(X, "shape", (0,))[1:]
        self.n_features_in_ = columns[0] if columns else 1
        strategy = check_sampling_strategy(self.sampling_strategy, labels, self._sampling_type)
        self.sampling_strategy_ = strategy
        self.nn_k_ = _neighbors_object(self.k_neighbors)
        return texts, labels, extend, is_binarized

    def _fit_resample(
        self, X: list[str], y: NDArray[Any], **params: Any
    ) -> tuple[list[str], list[Any]]:
        corpus = pa.table({"id": np.arange(len(X)), "text": X, "label": y.tolist()})
        wanted = {_plain(label): int(n) for label, n in self.sampling_strategy_.items() if n}
        accepted = None
        if wanted:
            try:
                accepted = self._make(corpus, wanted, self._config())
            except UserError as error:
                raise ValueError(str(error)) from error
        if accepted is None:
            self.lineage_ = pd.DataFrame(columns=["row", *FRAME_LINEAGE])
            return [], []
        columns = [*FRAME_LINEAGE, *(name for name in KEPT_OTHERS if name in accepted.column_names)]
        self.lineage_ = accepted.select(columns).to_pandas()
        self.lineage_.insert(0, "row", np.arange(len(X), len(X) + len(accepted)))
        return accepted["text"].to_pylist(), accepted["label"].to_pylist()

    def _make(self, corpus: pa.Table, wanted: dict[Any, int], config: RunConfig) -> pa.Table | None:
        own = [name for name in ("encoder", "decoder") if not _is_settings(getattr(self, name))]
        own += [] if isinstance(self.nn_k_, FaissNeighbors) else ["k_neighbors"]
        is_large = len(corpus) > MANY_ROWS or sum(wanted.values()) > MANY_NEW
        if self.on_ray is True and own:
            raise ValueError(
                f"On Ray {' and '.join(own)} can be settings or numbers, not objects; give those "
                "or use on_ray=False."
            )
        if self.on_ray is True or (self.on_ray == "auto" and is_large and not own):
            return _on_ray(corpus, wanted, config, self.output)
        from smotext_ray.pipeline.in_process import augment_here

        made = augment_here(
            corpus,
            wanted,
            config,
            _loaded_encoder(_key(config)) if _is_settings(self.encoder) else self.encoder,
            _loaded_decoder(_key(config)) if _is_settings(self.decoder) else self.decoder,
            self._nearest,
        )
        _warn(made.warnings, made.short)
        return made.accepted

    def _nearest(
        self, queries: NDArray[Any], base: NDArray[Any], k: int, metric: Metric
    ) -> tuple[NDArray[Any], NDArray[np.int64]]:
        found: tuple[NDArray[Any], NDArray[np.int64]] = self.nn_k_.fit(base).kneighbors(
            queries, n_neighbors=k
        )
        return found

    def _config(self) -> RunConfig:
        from smotext_ray.config.load import load_config

        seed = self.random_state
        if not isinstance(seed, (int, np.integer)):
            seed = check_random_state(seed).randint(2**31)
        options: dict[str, Any] = {
            "plan.seed": int(seed),
            "plan.variant": self.variant,
            "plan.n_clusters": self.n_clusters,
            "plan.neighbors_per_point": self.neighbors_per_point,
            "plan.alpha": self.alpha,
            "neighbors.k_neighbors": self.nn_k_.n_neighbors - 1,
            "neighbors.m_neighbors": self.m_neighbors,
            "bridge.path": self.bridge,
        }
        for section in ("encoder", "decoder", "gate"):
            given = getattr(self, section)
            if isinstance(given, Mapping):
                options |= {f"{section}.{name}": value for name, value in given.items()}
        return load_config("offline", options=options)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.sparse = False
        return tags


class FaissNeighbors(BaseEstimator):
    """Exact nearest neighbours that are the same on every machine, as runs find them.

    Parameters
    ----------
    n_neighbors : int
        With the row itself.
    metric : {"cosine", "euclidean"}, default="cosine"
    """

    def __init__(self, n_neighbors: int = 6, metric: Metric = "cosine") -> None:
        self.n_neighbors = n_neighbors
        self.metric = metric

    def fit(self, X: NDArray[Any], y: Any = None) -> FaissNeighbors:
        """Keep the rows to search among: an array of shape (n, d)."""
        self._base = np.asarray(X, np.float32)
        return self

    def kneighbors(
        self, X: NDArray[Any], n_neighbors: int | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Distances and rows, each of shape (queries, n_neighbors), nearest first."""
        check_is_fitted(self, "_base")
        k = self.n_neighbors if n_neighbors is None else n_neighbors
        return nearest_neighbors(np.asarray(X, np.float32), self._base, k, self.metric)


def _neighbors_object(k_neighbors: Any) -> Any:
    if isinstance(k_neighbors, (int, np.integer)) and not isinstance(k_neighbors, bool):
        if k_neighbors < 1:
            raise ValueError(f"k_neighbors is at least 1, not {k_neighbors}.")
        return FaissNeighbors(int(k_neighbors) + 1)
    if all(hasattr(k_neighbors, name) for name in ("fit", "kneighbors", "n_neighbors")):
        return clone(k_neighbors)
    raise ValueError(
        "k_neighbors is a number, or an object with n_neighbors, fit and kneighbors, not "
        f"{k_neighbors!r}."
    )


def _check_texts(texts: list[Any], labels: NDArray[Any]) -> None:
    if len(texts) != len(labels):
        raise ValueError(f"There are {len(texts)} texts and {len(labels)} labels.")
    for row, text in enumerate(texts):
        if not isinstance(text, str) or not text.strip():
            what = "empty" if isinstance(text, str) else f"of type {type(text).__name__}"
            raise ValueError(f"Row {row} of X is {what}; a text is needed.")


def _on_ray(
    corpus: pa.Table, wanted: dict[Any, int], config: RunConfig, output: str | None
) -> pa.Table | None:
    """The accepted texts of a run with this corpus; None where it has planned nothing."""
    from smotext_ray.config.load import load_config
    from smotext_ray.pipeline import rounds as rounds_module
    from smotext_ray.run.manifest import accepted
    from smotext_ray.run.result import first_wanted
    from smotext_ray.run.samples import usable_samples

    counts = Counter(corpus["label"].to_pylist())
    with tempfile.TemporaryDirectory() as here:
        home = output or f"{here}/run"
        options = {
            "input.path": _written(corpus, home),
            "input.id_column": "id",
            "plan.sampling_strategy": {str(c): counts[c] + n for c, n in wanted.items()},
        }
        run = rounds_module.augment(load_config(options=options, base=config), home)
        manifest = run.manifest
        planned = Counter(dict(manifest["targets"]))  # without the classes that were skipped
        _warn(manifest["warnings"], dict(planned - Counter(accepted(manifest))))
        rounds = [int(entry["round"]) for entry in manifest["rounds"]]
        used: Counter[Any] = Counter()
        parts = [first_wanted(table, used, wanted) for table in usable_samples(run, rounds)]
    return pa.concat_tables(parts) if parts else None


def _written(corpus: pa.Table, home: str) -> str:
    """The corpus as a file beside the run, where whoever reads the run reads it too."""
    from smotext_ray.run.directory import Run

    beside = Run(f"{home.rstrip('/')}-input")
    beside.make()
    with beside.fs.open_output_stream(beside.at("corpus.parquet")) as stream:
        pq.write_table(corpus, stream)
    return f"{beside.uri}/corpus.parquet"


def _warn(sentences: list[str], short: Mapping[Any, int]) -> None:
    for sentence in sentences:
        warnings.warn(sentence, stacklevel=5)
    for label, missing in short.items():
        warnings.warn(f"Class {label!r} is {missing} texts short of its target.", stacklevel=5)


def _is_settings(given: Any) -> bool:
    return given is None or isinstance(given, Mapping)


def _key(config: RunConfig) -> str:
    """The sections that settle which models are loaded, and how."""
    return config.model_dump_json(include={"encoder", "bridge", "decoder"})


@lru_cache(maxsize=1)
def _loaded_encoder(key: str) -> Any:
    from smotext_ray.models.load import load_encoder

    return load_encoder(RunConfig.model_validate_json(key))


@lru_cache(maxsize=1)
def _loaded_decoder(key: str) -> Any:
    from smotext_ray.models.load import load_decoder

    # The start of another process would import the user's script again, which need not have
    # `if __name__ == "__main__":`. More texts than that are made on Ray by default.
    config = RunConfig.model_validate_json(key)
    return load_decoder(config, own_process=False, expected_texts=MANY_NEW)


def _plain(label: Any) -> Any:
    return label.item() if isinstance(label, np.generic) else label


def _like(given: Any, y: NDArray[Any]) -> Any:
    """Labels as what the user gave them in."""
    if isinstance(given, pd.Series):
        return pd.Series(y, name=given.name).astype(given.dtype)
    if isinstance(given, pd.DataFrame):
        return pd.DataFrame(y, columns=given.columns).astype(given.dtypes.to_dict())
    if isinstance(given, (list, tuple)):
        return type(given)(y.tolist())
    return y
