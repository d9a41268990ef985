"""Convert any Arrow array to one that every kernel supports, and back without loss.

pyarrow cannot filter, join or cast arrays of views, and extension types exist only in processes
that have imported their library. So rows are staged in plain types (`plain_type`), and the result
has the types of the input again (`restored`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


def plain_type(kind: pa.DataType) -> pa.DataType:
    """The type without dictionaries, views, run ends and extensions, at any depth.

    Examples
    --------
    >>> plain_type(pa.list_view(pa.string_view()))
    ListType(list<item: string>)
    """
    if isinstance(kind, pa.BaseExtensionType):
        return plain_type(kind.storage_type)
    if pa.types.is_dictionary(kind) or pa.types.is_run_end_encoded(kind):
        return plain_type(kind.value_type)
    if pa.types.is_string_view(kind):
        return pa.string()
    if pa.types.is_binary_view(kind):
        return pa.binary()
    if pa.types.is_struct(kind):
        return pa.struct([_plain_field(kind.field(i)) for i in range(kind.num_fields)])
    if pa.types.is_map(kind):
        return pa.map_(_plain_field(kind.key_field), _plain_field(kind.item_field))
    if pa.types.is_fixed_size_list(kind):
        return pa.list_(_plain_field(kind.value_field), kind.list_size)
    if pa.types.is_list(kind) or pa.types.is_list_view(kind):
        return pa.list_(_plain_field(kind.value_field))
    if pa.types.is_large_list(kind) or pa.types.is_large_list_view(kind):
        return pa.large_list(_plain_field(kind.value_field))
    return kind


def plain(array: pa.Array) -> pa.Array:
    """The same values in the `plain_type` of the array."""
    kind = array.type
    to = plain_type(kind)
    if to == kind:
        return array
    if isinstance(kind, pa.BaseExtensionType):
        return plain(array.storage)
    if pa.types.is_dictionary(kind):
        return plain(array.dictionary).take(array.indices)
    if pa.types.is_run_end_encoded(kind):
        return plain(pc.run_end_decode(array))
    return _rebuilt(array, to, plain) if pa.types.is_nested(kind) else array.cast(to)


def restored(array: pa.Array, kind: pa.DataType) -> pa.Array:
    """A plain array in its original type.

    Parameters
    ----------
    array : pyarrow.Array
        Of ``plain_type(kind)``.
    kind : pyarrow.DataType
        A dictionary is built in the order of the values.
    """
    if array.type == kind:
        return array
    if isinstance(kind, pa.BaseExtensionType):
        return pa.ExtensionArray.from_storage(kind, restored(array, kind.storage_type))
    if pa.types.is_dictionary(kind):
        return _as_dictionary(array.dictionary_encode(), kind)
    if pa.types.is_run_end_encoded(kind):
        return pc.run_end_encode(restored(array, kind.value_type), run_end_type=kind.run_end_type)
    if not pa.types.is_nested(kind):
        return array.cast(kind)
    return _rebuilt(array, kind, None)


def in_categories(array: pa.Array, kind: pa.DataType, categories: pa.Array) -> pa.Array:
    """A plain array as a dictionary with these categories first, in this order.

    Other values follow in the order of the array.
    """
    every = pa.concat_arrays([categories, array]).unique().drop_null()
    indices = pc.index_in(array, value_set=every)
    return _as_dictionary(pa.DictionaryArray.from_arrays(indices, every), kind)


def _as_dictionary(array: pa.DictionaryArray, kind: pa.DataType) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(
        array.indices.cast(kind.index_type),
        restored(array.dictionary, kind.value_type),
        ordered=kind.ordered,
    )


def _plain_field(field: pa.Field) -> pa.Field:
    return field.with_type(plain_type(field.type))


def _rebuilt(array: pa.Array, to: pa.DataType, change: Any) -> pa.Array:
    """A nested array with converted children: `plain` ones, or ones of the target's types."""

    def child(values: pa.Array, kind: pa.DataType) -> pa.Array:
        return restored(values, kind) if change is None else change(values)

    nulls = array.is_null()
    if pa.types.is_struct(to):
        fields = [to.field(i) for i in range(to.num_fields)]
        children = [child(array.field(i), field.type) for i, field in enumerate(fields)]
        return pa.StructArray.from_arrays(children, fields=fields, mask=nulls)
    if pa.types.is_fixed_size_list(to):
        size = to.list_size
        values = array.values.slice(array.offset * size, len(array) * size)
        return pa.FixedSizeListArray.from_arrays(child(values, to.value_type), type=to, mask=nulls)
    if pa.types.is_map(to):
        offsets = array.offsets.to_numpy()
        first, length = offsets[0], offsets[-1] - offsets[0]
        keys = child(array.keys.slice(first, length), to.key_type)
        items = child(array.items.slice(first, length), to.item_type)
        offsets = pa.array(offsets - first, pa.int32())
        return pa.MapArray.from_arrays(offsets, keys, items, type=to, mask=nulls)
    lengths = _lengths(array)
    ends = np.cumsum(lengths)
    is_large = pa.types.is_large_list(to) or pa.types.is_large_list_view(to)
    size_type = pa.int64() if is_large else pa.int32()
    inner = child(_items(array, lengths), to.value_type)
    if pa.types.is_list_view(to) or pa.types.is_large_list_view(to):
        starts = pa.array(ends - lengths, size_type)
        sizes = pa.array(lengths, size_type)
        kind = pa.LargeListViewArray if is_large else pa.ListViewArray
        return kind.from_arrays(starts, sizes, inner, type=to, mask=nulls)
    kind = pa.LargeListArray if is_large else pa.ListArray
    offsets = pa.array(np.concatenate([[0], ends]), size_type)
    return kind.from_arrays(offsets, inner, type=to, mask=nulls)


def _items(array: pa.Array, lengths: np.ndarray) -> pa.Array:
    """The items of all lists in order; `flatten` fails on nested extension types."""
    starts = array.offsets.to_numpy()[: len(lengths)]
    ends = np.cumsum(lengths)
    at = np.repeat(starts - ends + lengths, lengths) + np.arange(lengths.sum())
    if len(at) and (np.diff(at) == 1).all():
        return array.values.slice(at[0], len(at))
    return array.values.take(pa.array(at))


def _lengths(array: pa.Array) -> np.ndarray:
    return pc.list_value_length(array).fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
