"""A ClassLabel of `datasets`: the classes are called as a person sees them, the numbers stay."""

from __future__ import annotations

import datasets
import pyarrow.parquet as pq
import pytest
from datasets import ClassLabel, Features, Value
from fake_run import HERE, fake_config, fakes_told
from fake_stages import MODELS

from smotext_ray.cli.main import main
from smotext_ray.errors import UserError
from smotext_ray.pipeline import rounds
from smotext_ray.pipeline.actors import Actors
from smotext_ray.pipeline.expand import ExpansionRequest, expand
from smotext_ray.run.directory import Run
from smotext_ray.run.manifest import Manifest

NAMES = ["world", "sports", "1"]  # a name may be another class's number
NO_MODELS = Actors(check_models=lambda config: MODELS)
pytestmark = pytest.mark.usefixtures("own_log")


def write(path, labels, names=NAMES):
    features = Features({"text": Value("string"), "label": ClassLabel(names=names)})
    # The fakes take a text's first word for its class.
    texts = [f"{number}x{i % 4} text {i}" for i, number in enumerate(labels)]
    rows = datasets.Dataset.from_dict({"text": texts, "label": labels}, features=features)
    rows.to_parquet(path)
    return path


@pytest.fixture
def corpus(tmp_path):
    return write(tmp_path / "news.parquet", [0] * 9 + [1] * 4 + [2] * 2)


def dry_run(corpus, strategy, capsys):
    arguments = ["augment", "--input", str(corpus), "--dry-run", "--sampling-strategy", strategy]
    code = main(arguments, NO_MODELS)
    out, err = capsys.readouterr()
    return code, " ".join(out.replace("│", " ").split()), err


@pytest.mark.parametrize(
    "strategy, row",
    [
        ('{"sports": 7}', "sports 4 3 7"),
        ('{"0": 12}', "world 9 3 12"),
        ('{"1": 5}', "1 2 3 5"),  # the name, not the number of "sports"
        ("minority", "1 2 7 9"),
    ],
)
def test_a_strategy_has_the_names_and_so_has_the_table(corpus, strategy, row, capsys):
    code, out, _ = dry_run(corpus, strategy, capsys)
    assert code == 0 and row in out


@pytest.mark.parametrize(
    "strategy, sentence",
    [
        ('{"sport": 7}', "unknown class 'sport'; did you mean 'sports'? The corpus has: 'world', "),
        ('{"sports": 2}', "2 rows of class 'sports', which already has 4"),
        ('{"world": 12, "0": 12}', "has the class 'world' twice, the second time as '0'"),
        ("0.5", "the corpus has 3: 'world', 'sports', '1'"),
    ],
)
def test_an_error_has_the_names(corpus, strategy, sentence, capsys):
    code, out, err = dry_run(corpus, strategy, capsys)
    assert code == 2 and out == "" and sentence in err


def test_a_singleton_class_is_named(tmp_path, capsys):
    corpus = write(tmp_path / "news.parquet", [0] * 9 + [1])
    code, _, err = dry_run(corpus, "auto", capsys)
    assert code == 2 and "Class 'sports' has only one distinct text" in err


def test_a_run_keeps_the_numbers_and_shows_the_names(corpus, tmp_path, capsys):
    home = str(tmp_path / "run")
    config = fake_config(corpus, plan={"sampling_strategy": {"sports": 7, "1": 5}})
    with fakes_told(tmp_path / "stage"):
        rounds.augment(config, home, **HERE)
        manifest = Manifest.read(Run(home))
        assert manifest.targets == {1: 3, 2: 3}
        written = pq.read_table(Run(home).at("augmented.parquet"))
        assert datasets.Features.from_arrow_schema(written.schema)["label"].names == NAMES
        labels = written["label"].to_pylist()
        assert sorted(labels) == [0] * 9 + [1] * 7 + [2] * 5
        assert any("class 'sports'" in warning for warning in manifest.warnings)
        assert main(["show", home, "--label", "sports"]) == 0
        assert "sports (sample " in capsys.readouterr().out

        # New rows whose numbers mean other classes are refused.
        other = write(tmp_path / "more.parquet", [1] * 3, names=["sports", "world", "1"])
        with pytest.raises(UserError, match=r"'label' have other names in .*more.parquet"):
            expand(home, ExpansionRequest(input=str(other)), **HERE)
        same = write(tmp_path / "same.parquet", [1] * 12)
        _, done = expand(home, ExpansionRequest(input=str(same), target={"sports": 20}), **HERE)
    written = pq.read_table(Run(home).at("augmented.parquet"), columns=["label"])
    assert done and written["label"].to_pylist().count(1) == 20
