"""``smotext play``: a page on this machine with two texts, a slider and the text between them."""

from __future__ import annotations

import argparse
import contextlib
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from smotext_ray.cli.exit_codes import DONE
from smotext_ray.cli.terminal import say
from smotext_ray.errors import UserError

if TYPE_CHECKING:
    from smotext_ray.api.playground import Playground

HERE = "127.0.0.1"
SHORTEST, SHOWN = 90, 6  # characters of a neighbor in the list; number of neighbors
EXAMPLES = ("I love this phone.", "The camera is terrible.")
# System fonts: a theme's web fonts would be requested from other machines.
FONTS = {"font": ["system-ui", "sans-serif"], "font_mono": ["ui-monospace", "monospace"]}


def add_play_command(commands: Any, command: Callable[..., Any]) -> None:
    """Add ``play`` to the commands of ``smotext``; see `add_bridge_commands`."""
    parser = command(commands, "play", play, "try points between two texts on a local page")
    parser.add_argument(
        "--run", metavar="RUN", help="a run whose corpus and gate are used (default: none)"
    )
    parser.add_argument("--preset", default="offline", metavar="NAME", help="default: offline")
    parser.add_argument("--config", metavar="FILE", help="YAML file of settings")
    parser.add_argument("--port", type=int, default=7860, metavar="N", help="default: 7860")
    parser.add_argument("overrides", nargs="*", metavar="section.key=value", help="any setting")


def play(options: argparse.Namespace) -> int:
    """``smotext play``: serve the page until it is interrupted."""
    playground = _playground(options)
    page = build(playground)
    try:
        _, address, _ = serve(page, options.port)
    except OSError:
        raise UserError(f"Port {options.port} is in use; name another one with --port.") from None
    say(f"The page is at {address} (Ctrl-C ends it); the first text loads the models.")
    with contextlib.suppress(KeyboardInterrupt):
        page.block_thread()
    return DONE


def _playground(options: argparse.Namespace) -> Playground:
    from smotext_ray.api.interpolate import WITHOUT_GATE
    from smotext_ray.api.playground import Playground
    from smotext_ray.config.load import load_config
    from smotext_ray.run.bridge import with_own_bridge
    from smotext_ray.run.directory import Run
    from smotext_ray.run.manifest import Manifest

    _gradio()
    if options.run is None:
        given = options.preset, options.config, options.overrides
        return Playground(load_config(*given, base=WITHOUT_GATE))
    run = Run(options.run)
    manifest = Manifest.read(run)
    base = with_own_bridge(manifest.effective_config, run, manifest)
    return Playground(load_config(None, options.config, options.overrides, base=base), run)


def _gradio() -> Any:
    """The Gradio library, set up so that it contacts no other machines."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    try:
        import gradio
    except ImportError:
        raise UserError(
            "smotext play needs Gradio; install it with: pip install 'gradio>=6,<7'"
        ) from None
    return gradio


def serve(page: Any, port: int) -> Any:
    """Serve the page only on loopback; returns Gradio's app, local and shared address."""
    gradio = _gradio()
    return page.launch(
        server_name=HERE,
        server_port=port,
        share=False,
        prevent_thread_lock=True,
        quiet=True,
        ssr_mode=False,
        footer_links=[],
        theme=gradio.themes.Default(**FONTS),
    )


def build(playground: Playground) -> Any:
    """The page.

    Parameters
    ----------
    playground : Playground

    Returns
    -------
    gradio.Blocks
    """
    gr = _gradio()
    first, second = EXAMPLES
    with gr.Blocks(title="SMOTExT", analytics_enabled=False) as page:
        gr.Markdown("# Between two texts\nA point between two embeddings, turned back into a text.")
        name = None if playground.corpus is None else _corpus_controls(gr, playground)
        with gr.Row():
            one = gr.Textbox(first, label="First text (lam 0)", lines=3, elem_id="first")
            two = gr.Textbox(second, label="Second text (lam 1)", lines=3, elem_id="second")
        if name is not None:
            _corpus_events(gr, playground, *name, one, two)
        with gr.Row():
            lam = gr.Slider(0, 1, 0.5, step=0.05, label="lam", elem_id="lam")
            seed = gr.Number(0, label="seed", precision=0, minimum=0)
        button = gr.Button("Decode", variant="primary", elem_id="decode")
        text = gr.Textbox(label="Synthetic text", lines=3, interactive=False, elem_id="text")
        verdict = gr.Textbox(label="Gate", interactive=False, elem_id="verdict")

        def decode(*given: Any) -> tuple[str, str]:
            a, b, at, number, *label = given
            of_class = label[0] if label else None
            try:
                made = playground.decode(a, b, float(at), of_class, int(number or 0))
            except UserError as error:
                raise gr.Error(str(error), print_exception=False) from error
            return made.text, f"{made.verdict} Cosine to its point: {made.cosine:.2f}."

        given = [one, two, lam, seed, *([] if name is None else [name[0]])]
        gr.on([button.click, lam.release], decode, given, [text, verdict])
    return page


def _corpus_controls(gr: Any, playground: Playground) -> tuple[Any, Any]:
    names = playground.corpus.names if playground.corpus is not None else []
    with gr.Row():
        name = gr.Dropdown(names, value=names[0] if names else None, label="Class")
        draw = gr.Button("Draw a text of this class", elem_id="draw")
    return name, draw


def _corpus_events(
    gr: Any, playground: Playground, name: Any, draw: Any, one: Any, two: Any
) -> None:
    """A drawn text goes to the first box, its neighbors to a list, the chosen one to the second."""
    from smotext_ray.api.loaded import encoder_of

    corpus = playground.corpus
    assert corpus is not None
    near = gr.Radio([], label="Neighbors in its class", elem_id="neighbors")

    def neighbors(label: str, text: str) -> Any:
        if not text.strip():
            return gr.Radio([], value=None)
        found = corpus.neighbors(label, text, SHOWN, encoder_of(playground.config))
        return gr.Radio([(_line(each, cosine), each) for each, cosine in found], value=None)

    draw.click(corpus.draw, name, one).then(neighbors, [name, one], near)
    one.submit(neighbors, [name, one], near)
    near.input(lambda chosen: chosen, near, two)


def _line(text: str, cosine: float) -> str:
    short = " ".join(text.split())
    return f"{cosine:.2f}  {short[:SHORTEST]}{'...' if len(short) > SHORTEST else ''}"
