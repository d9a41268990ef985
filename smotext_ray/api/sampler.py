"""SMOTExT as an imbalanced-learn over-sampler: lists and frames of texts in, the same out."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, ClassVar, get_args

import numpy as np
import pandas as pd
import pyarrow as pa
from imblearn.over_sampling.base import BaseOverSampler
from imblearn.utils import check_sampling_strategy, check_target_type
from numpy.typing import NDArray
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.multiclass import check_classification_targets

from smotext_ray.api import multilabel
from smotext_ray.api.checks import check_singletons, check_texts, warn_of
from smotext_ray.api.containers import number_of_columns, read_texts
from smotext_ray.api.label_sets import has_label_sets, read_one_hot
from smotext_ray.api.labels import as_list, like, plain_label, read_labels
from smotext_ray.api.loaded import MOST_TEXTS, decoder_of, encoder_of
from smotext_ray.api.neighbors import FaissNeighbors, neighbors_object
from smotext_ray.api.settings import config_of, is_settings, model_name
from smotext_ray.config.choices import Metric, OnProblem, Variant
from smotext_ray.config.schema import RunConfig
from smotext_ray.errors import UserError
from smotext_ray.run.sample_weight import row_weights
from smotext_ray.tables import FRAME_LINEAGE, KEPT_OTHERS

if TYPE_CHECKING:
    from smotext_ray.pipeline.actors import Actors

MANY_ROWS = 20_000  # from here on "auto" uses Ray: about where it pays off to start it


class SMOTExT(BaseOverSampler):
    """Over-sample texts with new texts decoded from interpolated embeddings.

    SMOTE's points between a text and a neighbor of its class, in the space of a sentence encoder,
    are turned into texts by a bridge and an LLM, and kept if they pass a quality filter, the gate
    [1]_.

    Parameters
    ----------
    sampling_strategy : str, float, dict or callable, default="auto"
        As in imbalanced-learn's over-samplers.
    variant : {"smote", "borderline", "adasyn", "kmeans", "svm"}, default="smote"
        Which texts the points start from: those of imbalanced-learn's SMOTE, BorderlineSMOTE (of
        kind "borderline-1"), ADASYN, KMeansSMOTE and SVMSMOTE. A class without an eligible text is
        skipped with a warning.
    k_neighbors : int or object, default=5
        Number of neighbors in the class to interpolate with, or an object with ``fit`` and
        ``kneighbors`` that finds them, the text itself first. It is not modified.
    m_neighbors : int, default=10
        Number of neighbors of any class, from which "borderline" and "svm" determine which texts
        are in danger.
    n_clusters : int, default=8
        Number of clusters for "kmeans".
    neighbors_per_point : int, default=1
        Number of neighbors mixed into a point. With more than one, the weights follow
        Dirichlet(alpha, ..., alpha).
    alpha : float, default=1.0
        The position between two texts follows Beta(alpha, alpha): 1 is SMOTE's uniform
        distribution, lower values favor points near a text, higher ones points halfway.
    random_state : int, RandomState or None, default=None
        An int is the seed of the plan, like ``plan.seed`` of a run.
    encoder, decoder : str, mapping or object, optional
        A model by its name or directory, or settings of the sections ``encoder`` and ``decoder`` of
        the configuration (``{"temperature": 0.9}``), overriding those of the preset ``offline``. Or
        your own encoder with ``encode(texts, batch_size)``, and decoder with ``decode(points,
        seeds)``.
    gate : mapping, optional
        Settings of the section ``gate``.
    bridge : str, default="default"
        Directory or hub name of the bridge between encoder and LLM.
    adapt_minutes : float, default=0.0
        Minutes for which the bridge is first trained on these texts; 0: none. The result is used
        only if it reproduces held-out texts no worse than before.
    text_column : object, default="text"
        Text column of a DataFrame or dataset.
    metric : {"cosine", "euclidean"}, default="cosine"
        Distance between texts, unless ``k_neighbors`` is an object.
    max_rounds : int, default=3
        Maximum rounds of planning and decoding; they end when no class is short of its target.
    on_singleton_class : {"error", "skip"}, default="error"
        What to do with a class that has only one distinct text.
    options : mapping, optional
        Any other settings, such as ``{"encoder.max_length": 256}``.
    on_ray : bool or "auto", default="auto"
        Whether to run on Ray (on the cluster at ``RAY_ADDRESS``, if set) or in this process.
        "auto": on Ray for more than 20,000 texts, or 2,000 synthetic ones.
    output : str, optional
        Directory in which the run is kept, for ``smotext verify`` and ``show``, and so that the
        same call resumes it; on a cluster, all nodes must have access. Default: not kept.

    Attributes
    ----------
    sampling_strategy_ : dict
        Class label -> number of requested texts (those with the label, if texts have several).
    nn_k_ : object
        Finds the neighbors.
    lineage_ : DataFrame
        One row per synthetic text: its ``row`` in the result, the rows ``source_id`` and
        ``neighbor_id`` of its parents, ``lam``, ``cosine_to_point``, ``seed`` and ``round``; with
        ``neighbors_per_point`` above 1 also lists of ``other_neighbor_ids`` and ``other_lams``.
    sample_weight_ : ndarray of shape (rows of the result,), float64
        1 for real texts; synthetic texts of a class weigh at most as much together as its real
        ones. For ``fit(X_resampled, y_resampled, sample_weight=...)``.
    n_features_in_ : int

    Notes
    -----
    Models are loaded once per process and kept for later fits. If a class is short of its target
    after the last round, a warning is issued.

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
        "variant": [StrOptions(set(get_args(Variant)))],
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
        "adapt_minutes": [Interval(Real, 0, None, closed="left")],
        "text_column": "no_validation",
        "metric": [StrOptions(set(get_args(Metric)))],
        "max_rounds": [Interval(Integral, 1, None, closed="left")],
        "on_singleton_class": [StrOptions(set(get_args(OnProblem)))],
        "options": [dict, None],
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
        adapt_minutes: float = 0.0,
        text_column: Any = "text",
        metric: str = "cosine",
        max_rounds: int = 3,
        on_singleton_class: str = "error",
        options: Mapping[str, Any] | None = None,
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
        self.adapt_minutes = adapt_minutes
        self.text_column = text_column
        self.metric = metric
        self.max_rounds = max_rounds
        self.on_singleton_class = on_singleton_class
        self.options = options
        self.on_ray = on_ray
        self.output = output

    def fit(self, X: Any, y: Any, **params: Any) -> SMOTExT:
        """Check the input and compute how many texts each class would get."""
        y = as_list(y)
        if has_label_sets(y):
            multilabel.begin(self, X, y)
        else:
            self._begin(X, y)
        return self

    def fit_resample(self, X: Any, y: Any, **params: Any) -> tuple[Any, Any]:
        """Resample the dataset.

        Parameters
        ----------
        X : list, Series, DataFrame, ndarray of shape (n,) or (n, 1), or datasets.Dataset
            Texts. Other columns of a frame or dataset are missing in the new rows.
        y : array-like of shape (n,), or matrix of 0 and 1, or list of sets or lists of labels
            A matrix (ndarray, sparse, DataFrame) has a column per label; texts may have none.
            If each has one, columns are classes, as in imbalanced-learn. With several labels per
            text, the strategy is "auto" or a dict of label to final count: `plan.multilabel`.

        Returns
        -------
        X_resampled, y_resampled
            The same types: the original rows first, then the synthetic ones.

        Raises
        ------
        ValueError
            For invalid labels, strategy or texts, or a class with one distinct text.
        """
        y = as_list(y)
        if has_label_sets(y):
            return multilabel.resample(self, X, y)
        texts, labels, extend, extend_labels = self._begin(X, y)
        new_texts, new_labels = self._fit_resample(texts, labels)
        sets = [[[label] for label in each] for each in (labels.tolist(), new_labels)]
        self.sample_weight_ = row_weights(*sets)
        return extend(new_texts), extend_labels(new_labels)

    def _begin(self, X: Any, y: Any) -> tuple[list[str], NDArray[Any], Any, Any]:
        self._validate_params()
        read, extend_one_hot = read_one_hot(y) or (read_labels(y), None)
        check_classification_targets(read)
        labels = np.asarray(check_target_type(read))

        def extend_labels(new: list[Any]) -> Any:
            if extend_one_hot is not None:
                return extend_one_hot([[label] for label in new])
            return like(y, np.concatenate([labels, np.asarray(new, dtype=labels.dtype)]))

        texts, extend = read_texts(X, self.text_column)
        check_texts(texts, labels)
        self.n_features_in_ = number_of_columns(X)
        strategy = check_sampling_strategy(self.sampling_strategy, labels, self._sampling_type)
        self.sampling_strategy_ = strategy
        self.nn_k_ = neighbors_object(self.k_neighbors, self.metric)
        try:
            self._settings = config_of(self)  # once: it draws the seed
            if self.on_singleton_class == "error":
                check_singletons(texts, labels, self.sampling_strategy_)
        except UserError as error:
            raise ValueError(str(error)) from error
        return texts, labels, extend, extend_labels

    def _fit_resample(
        self, X: list[str], y: NDArray[Any], **params: Any
    ) -> tuple[list[str], list[Any]]:
        labels = pa.array(y) if y.dtype.kind == "u" else pa.array(y.tolist())
        corpus = pa.table({"id": np.arange(len(X)), "text": X, "label": labels})
        wanted = {plain_label(label): int(n) for label, n in self.sampling_strategy_.items() if n}
        accepted = self._accepted(corpus, wanted)
        if accepted is None:
            return [], []
        return accepted["text"].to_pylist(), accepted["label"].to_pylist()

    def _accepted(self, corpus: pa.Table, wanted: dict[Any, int]) -> pa.Table | None:
        """The accepted samples, with their lineage in ``lineage_``; None if nothing was planned."""
        try:
            accepted = self._make(corpus, wanted, self._settings) if wanted else None
        except UserError as error:
            raise ValueError(str(error)) from error
        if accepted is None:
            self.lineage_ = pd.DataFrame(columns=["row", *FRAME_LINEAGE])
            return None
        columns = [*FRAME_LINEAGE, *(name for name in KEPT_OTHERS if name in accepted.column_names)]
        self.lineage_ = accepted.select(columns).to_pandas()
        self.lineage_.insert(0, "row", np.arange(len(corpus), len(corpus) + len(accepted)))
        return accepted

    def _make(self, corpus: pa.Table, wanted: dict[Any, int], config: RunConfig) -> pa.Table | None:
        own = [name for name in ("encoder", "decoder") if not is_settings(getattr(self, name))]
        if config.adapt.minutes and own:
            raise ValueError(
                f"To adapt the bridge, {' and '.join(own)} must be settings, not objects; change "
                "that or leave adapt_minutes at 0."
            )
        own += [] if isinstance(self.nn_k_, FaissNeighbors) else ["k_neighbors"]
        is_large = len(corpus) > MANY_ROWS or sum(wanted.values()) > MOST_TEXTS
        if self.on_ray is True and own:
            raise ValueError(
                f"On Ray, {' and '.join(own)} must be settings or numbers, not objects; "
                "change that or use on_ray=False."
            )
        from smotext_ray.api import table_run

        if self.on_ray is True or (self.on_ray == "auto" and is_large and not own):
            made = table_run.run_on_ray(corpus, wanted, config, self.output)
        else:
            made = table_run.run_here(corpus, wanted, config, self.output, self._actors(config))
        warn_of(made.warnings, made.short)
        return made.accepted

    def _actors(self, config: RunConfig) -> Actors:
        """The stages with the user's own models, or with those kept from earlier fits."""
        from smotext_ray.models.load import check_models
        from smotext_ray.pipeline.given_models import given_models

        has_encoder, has_decoder = not is_settings(self.encoder), not is_settings(self.decoder)
        if has_encoder or has_decoder:
            names = {
                "encoder": model_name(self.encoder) if has_encoder else config.encoder.model,
                "llm": model_name(self.decoder) if has_decoder else config.decoder.model,
                "bridge": config.bridge.path,
            }
            models = {kind: {"name": name, "sha256": ""} for kind, name in names.items()}
        else:
            models = check_models(config)

        def decoder(of_job: RunConfig) -> Any:
            # The sampler's own settings, so that later fits find it; only the bridge may differ.
            told = config.model_copy(update={"bridge": of_job.bridge})
            return self.decoder if has_decoder else decoder_of(told)

        return given_models(
            lambda: self.encoder if has_encoder else encoder_of(config),
            decoder,
            models,
            None if isinstance(self.nn_k_, FaissNeighbors) else self._nearest,
        )

    def _nearest(
        self, queries: NDArray[Any], base: NDArray[Any], k: int, metric: Metric
    ) -> tuple[NDArray[Any], NDArray[np.int64]]:
        found: tuple[NDArray[Any], NDArray[np.int64]] = self.nn_k_.fit(base).kneighbors(
            queries, n_neighbors=k
        )
        return found

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.sparse = False
        return tags
