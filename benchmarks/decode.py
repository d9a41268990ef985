"""Decoding: the decode job against the bare vLLM engine and Hugging Face `generate`.

    python benchmarks/decode.py --output /tmp/decode

Plans new texts of Reuters R8 with the offline preset, and decodes the same points, one text each,
in every way, each in a separate process with nothing else running:

- `job`: the decode job on Ray, its gate included, with one decoder and with one a core;
- `engine`: our Engine in one process, all points in one batch, in the other of bfloat16 and float32
  than `decoder.dtype` takes on this machine (128 points), with int8 weights and activations, in
  blocks as the job's, one after the other and four at once;
- `vllm`: a vLLM `LLM` as its documents have it, with two threads and with one;
- `generate`: Hugging Face, in equal batches on all cores, and one by one (fewer points).

Tokens a second are of the warm phase: for the job from the first block taken up to the last one
written, for the others after a first small batch; `generate` decodes fewer points. The start is all
before. Each row also has the mean cosine of the texts to their points, which no speed-up may
change.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from decode_job import measure_job
from figures import Target, save, show, show_ratios

BATCH = 64
WARM = 8  # points
ALONE = 16  # points for the way that takes one at a time
TARGETS = [
    Target("job, 1 decoder", "vllm, 1 thread", 0.95),
    Target("job, 1 a core", "generate, batches", 2.5),
    Target("engine", "vllm, 1 thread", 1.0),
    Target("engine", "engine, other dtype", 1.0),
    Target("engine, int8", "engine", 1.0),
    Target("job, 1 a core", "generate, one by one", 10.0),
]
WAYS: dict[str, tuple[str, dict[str, Any]]] = {
    "generate, one by one": ("generate", {"batch": 1, "threads": 0, "points": ALONE}),
    "generate, batches": ("generate", {"batch": BATCH, "threads": 0, "points": 2 * BATCH}),
    "vllm, 2 threads": ("vllm", {"threads": 2}),
    "vllm, 1 thread": ("vllm", {"threads": 1}),
    "engine": ("engine", {"batch": 0}),
    "engine, other dtype": ("engine", {"batch": 0, "other": True, "points": 2 * BATCH}),
    "engine, int8": ("engine", {"batch": 0, "int8": True}),
    "engine, blocks": ("engine", {"batch": BATCH}),
    "engine, blocks, 4 at once": ("engine", {"batch": BATCH, "at_once": 4}),
    "job, 1 decoder": ("job", {"decoders": 1}),
    "job, 1 a core": ("job", {"decoders": 0}),
}


def main() -> int:
    options = _options()
    run = str(options.output / "run")
    if options.child:
        print(json.dumps(measure(options.child, run)))
        return 0
    shutil.rmtree(run, ignore_errors=True)
    make_plan(run, options.output / "corpus.parquet", options.points)
    found: dict[str, Any] = {}
    for way in options.ways:
        command = [sys.executable, __file__, "--child", way, "--output", str(options.output)]
        said = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
        found[way] = json.loads(said.splitlines()[-1])
        print(f"{way}: {found[way]['speed']:.0f} tokens/s", file=sys.stderr, flush=True)
    show(
        ["way", "tokens/s", "start, s", "tokens", "mean cosine"],
        [
            [
                way,
                f"{row['speed']:.0f}",
                f"{row['start']:.0f}",
                row["tokens"],
                f"{row['cosine']:.3f}",
            ]
            for way, row in found.items()
        ],
    )
    targets = [t for t in TARGETS if {t.ours, t.theirs} <= found.keys()]
    ratios = show_ratios({way: row["speed"] for way, row in found.items()}, targets)
    save(options.output / "decode.json", points=options.points, found=found, ratios=ratios)
    return 0


def make_plan(uri: str, corpus: Path, points: int) -> None:
    """A run of two small classes of Reuters R8 that is planned and not decoded."""
    from smotext_ray.config.load import load_config
    from smotext_ray.corpus.demo import load_dataset
    from smotext_ray.models.engine_device import decoding_dtype
    from smotext_ray.pipeline import plan as plan_module
    from smotext_ray.pipeline import rounds

    rows = load_dataset("reuters-r8").to_pandas()
    rows = rows[rows["label"].isin(["grain", "ship"])].groupby("label").head(40)
    corpus.parent.mkdir(parents=True, exist_ok=True)
    rows.to_parquet(corpus)
    options = {
        "input.path": str(corpus),
        "plan.sampling_strategy": {label: 40 + points // 2 for label in ("grain", "ship")},
        "decoder.num_candidates": 1,
        "decoder.dtype": decoding_dtype(gpu=None),  # so that all ways have the same
    }
    config = load_config("offline", options=options)
    plan_module.plan(config, *rounds.embed(config, uri))


def measure(way: str, uri: str) -> dict[str, Any]:
    """Decode in one way: tokens a second, seconds before the first, and the mean cosine."""
    import pyarrow.dataset as ds

    kind, how = WAYS[way]
    threads = how.get("threads", 1) or len(os.sched_getaffinity(0))
    os.environ["OMP_NUM_THREADS"] = str(threads)
    if kind == "job":
        return measure_job(uri, **how)
    plan = ds.dataset(f"{uri}/plan").to_table()
    rest = plan.slice(BATCH, how.get("points"))
    started = time.monotonic()
    decode = {"generate": generate, "vllm": vllm, "engine": engine}[kind](uri, how, threads)
    decode(plan.slice(0, WARM))
    ready = time.monotonic()
    texts, tokens = decode(rest)
    seconds = time.monotonic() - ready
    return {
        "speed": tokens / seconds,
        "tokens": tokens,
        "start": ready - started,
        "cosine": mean_cosine(uri, texts, rest),
    }


Decode = Callable[[pa.Table], tuple[list[str], int]]


def generate(uri: str, how: dict[str, Any], threads: int) -> Decode:
    """Hugging Face, as somebody would write it who has the bridge and no vLLM."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from smotext_ray.tables import matrix

    torch.set_num_threads(threads)
    config, bridge, llm = _models(uri)
    tokenizer = AutoTokenizer.from_pretrained(llm)
    dtype = getattr(torch, config.decoder.dtype)
    model = AutoModelForCausalLM.from_pretrained(llm, dtype=dtype).eval()

    def decode(plan: pa.Table) -> tuple[list[str], int]:
        texts, tokens = [], 0
        for start in range(0, len(plan), how["batch"]):
            prompts = soft_prompts(bridge, matrix(plan["point"].slice(start, how["batch"])), dtype)
            ids = model.generate(**generation(prompts, tokenizer, config.decoder))
            tokens += generated_tokens(ids, tokenizer)
            texts += tokenizer.batch_decode(ids, skip_special_tokens=True)
        return texts, tokens

    return decode


def generation(prompts: Any, tokenizer: Any, settings: Any) -> dict[str, Any]:
    """Arguments of ``generate`` that ask for what the decoder's settings ask of vLLM."""
    import torch

    return {
        "inputs_embeds": prompts,
        "attention_mask": torch.ones(prompts.shape[:2], dtype=torch.long, device=prompts.device),
        "do_sample": True,
        "temperature": settings.temperature,
        "top_p": settings.top_p,
        "top_k": 0,
        "max_new_tokens": settings.max_tokens,
        "pad_token_id": tokenizer.eos_token_id,
    }


def generated_tokens(ids: Any, tokenizer: Any) -> int:
    """Of each text up to its end, which counts too."""
    is_end = (ids == tokenizer.eos_token_id).int()
    return int((is_end.cumsum(1) == is_end).sum())


def vllm(uri: str, how: dict[str, Any], threads: int) -> Decode:
    """The bare engine with its own top-p."""
    os.environ |= {
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_LOGGING_LEVEL": "ERROR",
    }
    os.environ["VLLM_CPU_OMP_THREADS_BIND"] = "nobind" if threads == 1 else "auto"
    import torch
    from vllm import LLM, SamplingParams

    from smotext_ray.tables import matrix

    config, bridge, model = _models(uri)
    settings = config.decoder
    dtype = getattr(torch, settings.dtype)
    llm = LLM(
        model,
        dtype=settings.dtype,
        enable_prompt_embeds=True,
        enable_chunked_prefill=False,  # with seeds it ends the engine on CPU
        enforce_eager=True,
        max_model_len=bridge.prompt_length + settings.max_tokens,
        max_num_seqs=256,
    )

    def decode(plan: pa.Table) -> tuple[list[str], int]:
        sampling = [
            SamplingParams(
                seed=seed,
                temperature=settings.temperature,
                top_p=settings.top_p,
                max_tokens=settings.max_tokens,
            )
            for seed in plan["seed"].to_pylist()
        ]
        embeds = soft_prompts(bridge, matrix(plan["point"]), dtype)
        prompts = [{"prompt_embeds": prompt} for prompt in embeds]
        outputs = [o.outputs[0] for o in llm.generate(prompts, sampling, use_tqdm=False)]
        return [o.text for o in outputs], sum(len(o.token_ids) for o in outputs)

    return decode


def engine(uri: str, how: dict[str, Any], threads: int) -> Decode:
    """What an actor of the job holds."""
    from smotext_ray.config.load import load_config
    from smotext_ray.models.load import load_decoder
    from smotext_ray.tables import matrix

    config = _config(uri)
    options: dict[str, Any] = {"decoder.int8": how.get("int8", False)}
    if how.get("other"):
        options["decoder.dtype"] = {"bfloat16": "float32", "float32": "bfloat16"}[
            config.decoder.dtype
        ]
    decoder = load_decoder(load_config(options=options, base=config))

    def decode_block(block: pa.Table) -> Any:
        return decoder.decode(matrix(block["point"]), block["seed"].to_pylist())

    def decode(plan: pa.Table) -> tuple[list[str], int]:
        size = how["batch"] or len(plan)
        blocks = [plan.slice(start, size) for start in range(0, len(plan), size)]
        with ThreadPoolExecutor(how.get("at_once", 1)) as threads:
            found = [c for block in threads.map(decode_block, blocks) for c in block]
        return [c.texts[0] for c in found], sum(sum(c.num_tokens) for c in found)

    return decode


def mean_cosine(uri: str, texts: Sequence[str], plan: pa.Table) -> float:
    """Of texts to the points that they were decoded from."""
    from smotext_ray.models.load import load_encoder
    from smotext_ray.tables import matrix

    encoder = load_encoder(_config(uri))
    found, points = encoder.encode([text.strip() for text in texts]), matrix(plan["point"])
    return float(((found * points).sum(1) / np.linalg.norm(points, axis=1)).mean())


def _models(uri: str) -> tuple[Any, Any, str]:
    """The run's config, its bridge, and the LLM with the bridge's LoRA layers in it."""
    from smotext_ray.models.files import locate_model
    from smotext_ray.models.load import load_bridge
    from smotext_ray.models.served_llm import merged_llm

    config = _config(uri)
    bridge, lora = load_bridge(config.bridge.path)
    llm = locate_model(config.decoder.model).path
    return config, bridge, merged_llm(llm, lora) if lora else llm


def _config(uri: str) -> Any:
    from smotext_ray.run.directory import Run
    from smotext_ray.run.manifest import Manifest

    return Manifest.read(Run(uri)).config


def soft_prompts(bridge: Any, points: np.ndarray, dtype: Any) -> Any:
    """What the bridge makes of points, on the CPU."""
    import torch

    with torch.inference_mode():
        return bridge.prompt_embeds(torch.from_numpy(np.array(points))).to(dtype)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", required=True, type=Path, help="for the run")
    parser.add_argument("--points", type=int, default=320, help="to decode; default 320")
    parser.add_argument("--ways", nargs="*", choices=WAYS, default=list(WAYS), help="default: all")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
