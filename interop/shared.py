"""What both scripts share: running strait, comparing numbers, and random edits in strait's own files."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

ROOT = Path(__file__).resolve().parent.parent
IDS = [1, 5, 22, 5, 7, 0, 3, 9, 14, 200, 31, 8]
# Logits of models that are the same but for the order of their sums.
SAME = 1e-3


class Checks:
    """The checks of a script, made with the programs of one build."""

    def __init__(self, build):
        self.build, self.failed = Path(build), 0

    def strait(self, *arguments):
        done = subprocess.run([self.build / "strait", *map(str, arguments)], capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"strait {' '.join(map(str, arguments))}: {done.stderr}")
        return done.stdout

    def logits(self, model, edit="-", ids=IDS):
        ids = ",".join(map(str, ids))
        done = subprocess.run(
            [self.build / "examples/logits", str(model), str(edit), ids], capture_output=True, text=True
        )
        if done.returncode or not done.stdout:
            sys.exit(f"logits {model} {edit}: {done.stderr}")
        return np.array(json.loads(done.stdout))

    def near(self, what, found, expected, within=SAME):
        apart = float(np.abs(np.asarray(found) - np.asarray(expected)).max())
        good = apart <= within
        self.failed += not good
        print(f"{'ok  ' if good else 'FAIL'} {what}: at most {apart:.1e} apart", flush=True)

    def true(self, what, good):
        self.failed += not good
        print(f"{'ok  ' if good else 'FAIL'} {what}", flush=True)


def steering(path, layers, width, rng):
    """Several steering vectors as strait's own file."""
    vectors = {layer: rng.normal(size=width).astype(np.float32) for layer in layers}
    tensors = {f"{i}.steering.{layer}": v for i, (layer, v) in enumerate(vectors.items())}
    metadata = {"format": "strait.edit", "version": "1", "parts": str(len(vectors))}
    save_file(tensors, path, metadata)
    return vectors


def ablation(path, vector, layers, before=None):
    """An ablation of one vector after every layer, behind a LoRA where one is given."""
    tensors, metadata = dict(before[0] if before else {}), dict(before[1] if before else {})
    first = 1 if before else 0
    for i, layer in enumerate(range(-1, layers)):
        tensors[f"{first + i}.ablation.{layer}"] = vector
        metadata[f"{first + i}.factor"] = "1"
    metadata |= {"format": "strait.edit", "version": "1", "parts": str(first + layers + 1)}
    save_file(tensors, path, metadata)


def lora(path, config, rng, rank=3, alpha=5.0, factor=0.5):
    """A LoRA on every projection; returns its tensors and metadata as part 0 of a composition."""
    head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    h, q, kv, m = config.hidden_size, config.num_attention_heads * head, config.num_key_value_heads * head, config.intermediate_size
    sizes = {
        "self_attn.q_proj": (h, q), "self_attn.k_proj": (h, kv), "self_attn.v_proj": (h, kv), "self_attn.o_proj": (q, h),
        "mlp.gate_proj": (h, m), "mlp.up_proj": (h, m), "mlp.down_proj": (m, h),
    }
    tensors = {}
    for layer in range(config.num_hidden_layers):
        for name, (into, out) in sizes.items():
            prefix = f"base_model.model.model.layers.{layer}.{name}"
            tensors[f"{prefix}.lora_A.weight"] = (rng.normal(size=(rank, into)) / into**0.5).astype(np.float32)
            tensors[f"{prefix}.lora_B.weight"] = (0.5 * rng.normal(size=(out, rank))).astype(np.float32)
    facts = {"r": str(rank), "alpha": str(alpha), "rslora": "false", "factor": str(factor)}
    save_file(tensors, path, {"format": "strait.edit", "version": "1", **facts})
    part = {f"0.{name}": tensor for name, tensor in tensors.items()}
    return part, {f"0.{key}": value for key, value in facts.items()}
