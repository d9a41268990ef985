"""Columns that may run code when they are read are refused, wherever they hide in a schema."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from smotext_ray.errors import UserError
from smotext_ray.utils.plain_types import check_plain_types


class Foreign(pa.ExtensionType):
    """As a package defines one; not registered, so a file is read without it."""

    def __init__(self) -> None:
        super().__init__(pa.large_binary(), "some.objects")

    def __arrow_ext_serialize__(self) -> bytes:
        return b""

    @classmethod
    def __arrow_ext_deserialize__(cls, storage_type, serialized) -> Foreign:
        return cls()


NESTED = [
    Foreign(),
    pa.list_(Foreign()),
    pa.struct([("inner", pa.list_(Foreign()))]),
    pa.map_(pa.string(), Foreign()),
    pa.dictionary(pa.int32(), Foreign()),
    pa.list_(Foreign(), 2),
]


@pytest.mark.parametrize("kind", NESTED, ids=str)
def test_a_foreign_type_is_refused_at_any_depth(kind):
    schema = pa.schema([("text", pa.string()), ("extra", kind)])
    with pytest.raises(UserError, match=r"column 'extra' of here has the extension type some\.ob"):
        check_plain_types(schema, "here")


@pytest.mark.parametrize("kind", [Foreign(), pa.list_(Foreign())], ids=str)
def test_a_file_is_refused_though_nobody_knows_its_type(kind, tmp_path):
    pq.write_table(pa.table({"extra": pa.nulls(2, kind)}), tmp_path / "a.parquet")
    schema = pq.read_schema(tmp_path / "a.parquet")
    assert not isinstance(schema.field("extra").type, pa.BaseExtensionType)
    with pytest.raises(UserError, match=r"some\.objects"):
        check_plain_types(schema, "here")


def test_pyarrows_own_types_are_data():
    kinds = [
        pa.uuid(),
        pa.json_(),
        pa.fixed_shape_tensor(pa.float32(), [2, 2]),
        pa.list_(pa.uuid()),
    ]
    check_plain_types(pa.schema([(str(i), kind) for i, kind in enumerate(kinds)]), "here")
    plain = [pa.string(), pa.list_(pa.float32(), 3), pa.struct([("a", pa.decimal128(5, 2))])]
    check_plain_types(pa.schema([(str(i), kind) for i, kind in enumerate(plain)]), "here")


def test_types_of_pandas_ray_and_datasets_are_data():
    for name in ("pandas.period", "ray.data.arrow_tensor_v2"):
        field = pa.field("x", pa.int64(), metadata={"ARROW:extension:name": name})
        check_plain_types(pa.schema([field]), "here")
