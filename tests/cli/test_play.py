"""The page of two texts: what it computes, and what a browser shows of it."""

from __future__ import annotations

import importlib.util
import socket
import sys
import time
from urllib.parse import urlsplit

import chromium
import numpy as np
import pytest
from fake_stages import Encoder
from handmade_run import build, corpus_table

from smotext_ray.api import interpolate, loaded, playground
from smotext_ray.api.playground import NOT_CHECKED, Playground
from smotext_ray.cli import play
from smotext_ray.cli.main import main
from smotext_ray.config.load import load_config
from smotext_ray.errors import UserError
from smotext_ray.models.engine import Candidates
from smotext_ray.run.directory import Run
from smotext_ray.run.manifest import Manifest

NEW = "a wholly new text of the port"
pytestmark = pytest.mark.usefixtures("own_log")


class Decoder:
    """One text for each point; remembers the points."""

    def __init__(self):
        self.points, self.made = [], Candidates([NEW], ["stop"], [7])

    def count_tokens(self, texts):
        return np.array([len(text) for text in texts])

    def decode(self, points, seeds, lengths=None, examples=None):
        self.points.extend(points)
        return [self.made for _ in points]


@pytest.fixture
def decoder(monkeypatch):
    made = Decoder()
    for module in (interpolate, playground, loaded):
        monkeypatch.setattr(module, "encoder_of", lambda config: Encoder())
    monkeypatch.setattr(interpolate, "decoder_of", lambda config: made)
    return made


@pytest.fixture
def run(tmp_path):
    return build(tmp_path, {"grain": 2})


def config_of(run=None, **gate):
    options = {f"gate.{name}": value for name, value in gate.items()}
    base = None if run is None else Manifest.read(run).effective_config
    return load_config("offline" if run is None else None, options=options, base=base)


def test_a_point_is_decoded_and_judged_without_a_corpus(decoder):
    playing = Playground(config_of(min_cosine=-1))
    made = playing.decode("wheat rose", "corn fell", 0.25)
    assert (made.text, made.accepted) == (NEW, True)
    assert made.verdict == f"Accepted. {NOT_CHECKED}"
    a, b = Encoder().encode(["wheat rose", "corn fell"])
    point = a + 0.25 * (b - a)
    np.testing.assert_allclose(decoder.points[0], point / np.linalg.norm(point), rtol=1e-5)
    (x,) = Encoder().encode([NEW])
    near = x @ point / np.linalg.norm(x) / np.linalg.norm(point)
    assert made.cosine == pytest.approx(near, abs=1e-5)
    far = Playground(config_of(min_cosine=0.999)).decode("wheat rose", "corn fell", 0.5)
    assert far.verdict.startswith("Rejected: too far from its point.") and not far.accepted


def test_a_run_adds_its_classes_and_its_corpus_to_the_verdict(decoder, run):
    playing = Playground(config_of(run, min_cosine=-1, same_class=False), run)
    assert playing.corpus.names == ["grain", "ship"]
    texts = [text for text in corpus_table()["body"].to_pylist() if text.endswith("ship")]
    assert playing.decode(*texts[:2], 0.5, "ship").verdict == "Accepted."
    decoder.made = Candidates([texts[3].upper()], ["stop"], [7])
    made = playing.decode(*texts[:2], 0.5, "ship")
    assert made.verdict == "Rejected: equal to a text of the corpus."
    decoder.made = Candidates([NEW], ["stop"], [7])
    strict = Playground(config_of(run, min_cosine=-1, same_class=True), run)
    verdicts = {strict.decode(*texts[:2], 0.5, name).accepted for name in ("grain", "ship")}
    assert verdicts == {True, False}  # it is nearest to one of the two


def test_neighbors_are_the_nearest_others_of_the_class(decoder, run):
    corpus = Playground(config_of(run), run).corpus
    drawn = corpus.draw("ship", 3)
    assert drawn.endswith("ship")
    found = corpus.neighbors("ship", f" {drawn} ", 3, Encoder())
    assert len(found) == 3 and drawn not in [text for text, _ in found]
    assert all(text.endswith("ship") for text, _ in found)
    cosines = [cosine for _, cosine in found]
    assert cosines == sorted(cosines, reverse=True)
    assert len(corpus.neighbors("ship", "not of the corpus", 99, Encoder())) == 6


def test_what_cannot_be_played_is_told(decoder, run):
    with pytest.raises(UserError, match="not empty"):
        Playground(config_of()).decode(" ", "b", 0.5)
    decoder.made = Candidates([], [], [], "spoilt")
    with pytest.raises(UserError, match=r"could not be decoded \(spoilt\)"):
        Playground(config_of()).decode("a", "b", 0.5)
    manifest = Manifest.read(run)
    del manifest.stages["reference"]
    manifest.save(run)
    with pytest.raises(UserError, match="not embedded yet"):
        Playground(config_of(), run)


def test_without_gradio_it_says_how_to_get_it(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "gradio", None)
    assert main(["play"]) == 2
    assert capsys.readouterr().err.endswith("install it with: pip install 'gradio>=6,<7'\n")


# The page


@pytest.fixture
def page(tmp_path):
    if importlib.util.find_spec("gradio") is None:
        pytest.skip("gradio is not installed: pip install 'gradio>=6,<7'")
    if chromium.chromium() is None:
        pytest.skip("there is no Chromium here")
    with chromium.browser(tmp_path / "profile") as page:
        yield page


def free_port():
    with socket.socket() as listener:
        listener.bind((play.HERE, 0))
        return listener.getsockname()[1]


def wait(page, expression):
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if page.js(expression):
            return
        time.sleep(0.2)
    pytest.fail(f"{expression}: {page.js('document.body.innerText')}, {page.complaints}")


@pytest.mark.slow
def test_the_page_in_a_browser(page, decoder, run, tmp_path):
    playing = Playground(config_of(run, min_cosine=-1, same_class=False), run)
    shown = play.build(playing)
    port = free_port()
    play.serve(shown, port)
    try:
        page.emulate(1100)
        page.open_address(f"http://{play.HERE}:{port}/")
        wait(page, "document.querySelector('#decode') !== null")
        page.click("document.querySelector('#draw')")
        value = "document.querySelector('#{} textarea').value"
        wait(page, f"{value.format('first')}.startsWith('text ')")
        wait(page, "document.querySelectorAll('#neighbors input').length >= 3")
        page.click("document.querySelectorAll('#neighbors input')[1]")
        wait(page, f"{value.format('second')}.startsWith('text ')")
        page.click("document.querySelector('#decode')")
        wait(page, f"{value.format('text')} === {NEW!r}")
        said = page.js("document.querySelector('#verdict').querySelector('textarea, input').value")
        assert said.startswith("Accepted. Cosine to its point: ")
        first, second = (page.js(value.format(name)) for name in ("first", "second"))
        a, b = Encoder().encode([first, second])
        point = a + 0.5 * (b - a)
        np.testing.assert_allclose(decoder.points[-1], point / np.linalg.norm(point), rtol=1e-4)
        asked = {urlsplit(address) for address in page.requests}
        # Nothing of another machine.
        assert {a.netloc for a in asked if a.scheme != "data"} == {f"{play.HERE}:{port}"}
        page.screenshot(tmp_path / "play.png")
    finally:
        shown.close()


def test_a_private_run_is_refused(tmp_path, monkeypatch):
    run = Run(str(tmp_path / "run"))

    class Private:
        is_private = True

    monkeypatch.setattr(playground.Manifest, "read", lambda run: Private())
    with pytest.raises(UserError, match="keeps no texts"):
        Playground(config_of(), run)
