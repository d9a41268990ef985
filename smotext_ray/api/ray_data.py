"""SMOTExT for Ray Data pipelines: datasets in, datasets out."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from smotext_ray.cluster.gpus import hide_other_gpus, loading_alone
from smotext_ray.config.load import load_config
from smotext_ray.config.schema import RunConfig
from smotext_ray.errors import UserError

log = logging.getLogger("smotext_ray")

GPU_BATCH = 1024  # rows

if TYPE_CHECKING:
    from ray.data import Dataset

    from smotext_ray.run.directory import Run


def augment(
    ds: Dataset,
    *,
    sampling_strategy: str | float | Mapping[Any, int] = "auto",
    text_column: str = "text",
    label_column: str = "label",
    id_column: str | None = None,
    preset: str = "offline",
    options: Mapping[str, Any] | None = None,
    output: str | None = None,
) -> Dataset:
    """Add synthetic texts to a dataset of labeled texts, like ``smotext augment``.

    Executed eagerly, as a run, because its rounds depend on each other.

    Parameters
    ----------
    ds : ray.data.Dataset
        Executed once.
    sampling_strategy : str, float or mapping of label to final count, default="auto"
    text_column, label_column : str
    id_column : str, optional
        Identifies the parents of synthetic texts; default: row numbers.
    preset : str, default="offline"
    options : mapping, optional
        Other settings, such as ``{"decoder.temperature": 0.9}``.
    output : str, optional
        Directory of the run; on a cluster, all nodes must have access. Its input is stored next to
        it, in ``<output>-input``. A second call with the same directory and settings resumes the
        run with the stored rows, even if ``ds`` has changed. Default: a temporary directory on this
        machine, which is kept because the result is read from it.

    Returns
    -------
    ray.data.Dataset
        The columns of ``ds`` and those of a result: ``synthetic``, ``sample_id``, ``source_id``,
        ``neighbor_id``, ``lam``, ``round`` and ``cosine_to_point``, null for original rows, and
        ``sample_weight``; with ``plan.neighbors_per_point`` above 1 also ``other_neighbor_ids``
        and ``other_lams``.

    Raises
    ------
    smotext_ray.errors.UserError
        For invalid input or settings.
    """
    import ray

    from smotext_ray.pipeline import rounds
    from smotext_ray.run.directory import MANIFEST, Run
    from smotext_ray.run.manifest import Manifest

    if output is None:
        if len(ray.nodes() if ray.is_initialized() else []) > 1:
            raise UserError(
                "The cluster has several nodes; pass an output that all of them can access."
            )
        output = f"{tempfile.mkdtemp(prefix='smotext-')}/run"
    source = Run(f"{output.rstrip('/')}-input")
    if Run(output).has(MANIFEST):
        log.warning("%s already has a run; it is resumed with the rows that it began with", output)
    else:
        source.clear()
        _write_all(ds, source)
    columns = {"text_column": text_column, "label_column": label_column, "id_column": id_column}
    given: dict[str, Any] = {
        f"input.{name}": column for name, column in columns.items() if column is not None
    }
    given |= {"input.path": source.uri, "plan.sampling_strategy": sampling_strategy}
    config = load_config(preset, options=given | dict(options or {}))
    run = rounds.augment(config, output)
    result = Manifest.read(run).written_result
    return ray.data.read_parquet(run.at(result.path), filesystem=run.fs, partitioning=None)


def _write_all(ds: Dataset, run: Run) -> None:
    """Write all of its rows to parquet files, even if the caller's own jobs are checkpointed."""
    context = ds.context
    checkpoint_config, context.checkpoint_config = context.checkpoint_config, None
    try:
        ds.write_parquet(run.make(), filesystem=run.fs)
    finally:
        context.checkpoint_config = checkpoint_config


def embed(
    ds: Dataset,
    config: RunConfig | None = None,
    *,
    text_column: str = "text",
    concurrency: int | tuple[int, int] = 1,
    batch_size: int | None = None,
    **resources: Any,
) -> Dataset:
    """Add the column ``embedding``, lazily.

    Parameters
    ----------
    ds : ray.data.Dataset
    config : RunConfig, optional
        Its ``encoder`` is used; default: the preset ``offline``.
    text_column : str
    concurrency : int or (int, int), default=1
        Actors, as in ``map_batches``.
    batch_size : int, optional
        Rows per call, as in ``map_batches``. Default: a block of the dataset, or 1024 with GPUs,
        for which ``map_batches`` requires a number.
    **resources
        Resources per actor, such as ``num_gpus``, for ``map_batches``.

    Returns
    -------
    ray.data.Dataset
        ``embedding`` is a list of ``float32`` of fixed length.
    """
    return ds.map_batches(
        Embed,
        fn_constructor_args=(config or load_config("offline"), text_column),
        batch_format="pyarrow",
        batch_size=batch_size or (GPU_BATCH if resources.get("num_gpus") else None),
        concurrency=concurrency,
        **resources,
    )


def decode(
    ds: Dataset,
    config: RunConfig | None = None,
    *,
    concurrency: int | tuple[int, int] = 1,
    batch_size: int | None = None,
    **resources: Any,
) -> Dataset:
    """Add the candidate texts of points, lazily.

    Parameters
    ----------
    ds : ray.data.Dataset
        ``point``, a list with the bridge's input dimension, and ``seed``, int64. If it has the
        columns ``source_text``, ``neighbor_text`` and ``lam`` of a plan too, the texts get their
        parents' length, case and punctuation.
    config : RunConfig, optional
        Its ``bridge`` and ``decoder`` are used; default: the preset ``offline``.
    concurrency : int or (int, int), default=1
    batch_size : int, optional
    **resources
        See `embed`.

    Returns
    -------
    ray.data.Dataset
        With ``texts``, ``finish_reasons`` and ``tokens``, lists with one value per candidate, and
        ``error``, empty on success.
    """
    return ds.map_batches(
        Decode,
        fn_constructor_args=(config or load_config("offline"),),
        batch_format="pyarrow",
        batch_size=batch_size or (GPU_BATCH if resources.get("num_gpus") else None),
        concurrency=concurrency,
        **resources,
    )


class Embed:
    """Add embeddings to tables with texts."""

    def __init__(self, config: RunConfig, text_column: str) -> None:
        from smotext_ray.models.load import load_encoder

        hide_other_gpus()
        self._encoder = load_encoder(config)
        self._batch_size = config.encoder.batch_size
        self._text_column = text_column

    def __call__(self, table: pa.Table) -> pa.Table:
        from smotext_ray.tables import fixed_size_list

        texts = table[self._text_column].to_pylist()
        x = self._encoder.encode(texts, self._batch_size)
        return table.append_column("embedding", fixed_size_list(x))


class Decode:
    """Add candidate texts to tables with points."""

    def __init__(self, config: RunConfig) -> None:
        from smotext_ray.models.load import load_decoder

        hide_other_gpus()
        with loading_alone():
            self._decoder = load_decoder(config)

    def __call__(self, table: pa.Table) -> pa.Table:
        from smotext_ray.pipeline.actors import decode_points, with_candidates

        return with_candidates(table, decode_points(table, self._decoder))
