#!/usr/bin/env python3
"""Holds llama.cpp's llama-server against strait on edits in GGUF files that strait writes.

    python interop/llama.py LLAMA_SERVER MODEL.gguf [--build target/debug] [--within NATS]

Random control vectors and LoRA adapters on the model, whole and scaled: the log probabilities of the likeliest tokens after some
texts, by the server and by strait. A file in F32 has no rounding but that of sums; with quantised weights llama.cpp rounds what is
multiplied with them too, so that base itself lies as far apart as is printed. By hand: needs llama.cpp, numpy, gguf, safetensors.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from types import SimpleNamespace

import gguf
import numpy as np
from safetensors.numpy import save_file

from shared import ROOT, Checks, lora, steering

PORT = 18431
TEXTS = [
    "The capital of France is",
    "Once upon a time there was a small dragon who",
    "def fibonacci(n):\n    ",
    "The engine of a car turns",
]
LIKELIEST = 20


class Server:
    """A llama-server with these arguments, while it is entered."""

    def __init__(self, program, model, *arguments):
        fixed = ["--port", PORT, "-c", 512, "-np", 1, "-ctk", "f32", "-ctv", "f32", "-fa", "off", "--no-warmup"]
        self.command = [str(part) for part in [program, "-m", model, *fixed, *arguments]]

    def __enter__(self):
        self.log = tempfile.TemporaryFile(mode="w+")
        self.process = subprocess.Popen(self.command, stdout=self.log, stderr=self.log)
        for _ in range(600):
            try:
                if self.ask("health")["status"] == "ok":
                    return self
            except OSError:
                if self.process.poll() is not None:
                    break
            time.sleep(0.2)
        self.log.seek(0)
        sys.exit(f"{' '.join(self.command)}:\n{self.log.read()[-2000:]}")

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()

    def ask(self, where, **body):
        data = json.dumps(body).encode() if body else None
        request = urllib.request.Request(f"http://127.0.0.1:{PORT}/{where}", data, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=120) as answer:
            return json.load(answer)

    def tokens(self, text):
        return self.ask("tokenize", content=text, add_special=False)["tokens"]

    def likeliest(self, ids):
        """Log probabilities of the likeliest next tokens, by their ids."""
        said = self.ask("completion", prompt=ids, n_predict=1, n_probs=LIKELIEST, temperature=-1, cache_prompt=False)
        return {top["id"]: top["logprob"] for top in said["completion_probabilities"][0]["top_logprobs"]}


def config(model):
    """The sizes of a Llama, under the names of its config.json."""
    fields = gguf.GGUFReader(model).fields
    number = lambda key: int(fields[f"llama.{key}"].parts[-1][0])
    return SimpleNamespace(
        hidden_size=number("embedding_length"),
        num_attention_heads=number("attention.head_count"),
        num_key_value_heads=number("attention.head_count_kv"),
        intermediate_size=number("feed_forward_length"),
        num_hidden_layers=number("block_count"),
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("server", type=Path, metavar="LLAMA_SERVER")
    parser.add_argument("model", type=Path, metavar="MODEL.gguf", help="a Llama")
    parser.add_argument("--build", default=ROOT / "target/debug", help="the folder of the built programs")
    parser.add_argument("--within", type=float, default=0.01, metavar="NATS", help="the tolerance")
    arguments = parser.parse_args()
    checks, sizes, rng = Checks(arguments.build), config(arguments.model), np.random.default_rng(7)
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        vectors = steering(folder / "vectors.safetensors", range(1, sizes.num_hidden_layers), sizes.hidden_size, rng)
        one = {"steering.12": 3 * vectors[12]}
        save_file(one, folder / "one.safetensors", {"format": "strait.edit", "version": "1"})
        lora(folder / "lora.safetensors", sizes, rng, factor=0.2)
        for name in ["vectors", "one", "lora"]:
            checks.strait("edit", "convert", folder / f"{name}.safetensors", folder / f"{name}.gguf", "--model", arguments.model)
        cases = [("base", "-", [])]
        for name, option in [("vectors", "--control-vector"), ("one", "--control-vector"), ("lora", "--lora")]:
            file = folder / f"{name}.gguf"
            cases.append((f"{name}.gguf", file, [option, file]))
            cases.append((f"{name}.gguf times -0.5", f"{file}*-0.5", [f"{option}-scaled", f"{file}:-0.5"]))
        texts, base = [], []
        for what, edit, options in cases:
            with Server(arguments.server, arguments.model, *options) as server:
                texts = texts or [server.tokens(text) for text in TEXTS]
                theirs = [server.likeliest(ids) for ids in texts]
            apart, moved, first = 0.0, 0.0, 0
            for place, (ids, found) in enumerate(zip(texts, theirs)):
                logits = checks.logits(arguments.model, edit, ids)[-1]
                ours = logits - np.logaddexp.reduce(logits)
                if edit == "-":
                    base.append(ours)
                apart = max(apart, max(abs(ours[token] - value) for token, value in found.items()))
                moved = max(moved, max(abs(ours[token] - base[place][token]) for token in found))
                first += max(found, key=found.get) == int(np.argmax(ours))
            checks.near(f"{what}, which moves them by up to {moved:.2f}; the same first token {first} of {len(texts)} times", apart, 0.0, arguments.within)
    sys.exit(checks.failed > 0)


if __name__ == "__main__":
    main()
