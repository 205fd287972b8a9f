"""Spectra of edits as numpy computes them, for the tests: `python spectra.py crates/strait-model/tests/fixtures/edit`.

Writes `spectra.safetensors` there, LoRAs of four ranks whose spectra are made to be hard (some equal values, some far apart, rows
that depend on each other, a B of zeros), and `spectra.json` with what singular values in float64 of the whole product come to: of
these LoRAs, of the PEFT folders, and the stable ranks of the full fine-tunes that `full.py` writes.
"""

import json
import sys
from pathlib import Path

import numpy as np
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

HIDDEN, KEYS, WIDE = 24, 12, 40
SIZES = {
    "self_attn.q_proj": (HIDDEN, HIDDEN),
    "self_attn.k_proj": (HIDDEN, KEYS),
    "mlp.up_proj": (HIDDEN, WIDE),
    "mlp.down_proj": (WIDE, HIDDEN),
}
# As in `edit inspect`: what is smaller than this share of the largest counts as zero.
ZERO = 1e-7
PREFIX = "base_model.model."


def orthogonal(random, rows, columns):
    """Orthogonal columns of length 1."""
    return np.linalg.qr(random.normal(size=(rows, columns)))[0]


def with_values(random, into, out, rank, values):
    """A and B whose product has about these singular values; neither has orthogonal rows or columns itself."""
    mix = np.eye(rank) + 0.4 * random.normal(size=(rank, rank))
    a = mix @ orthogonal(random, into, rank).T
    b = orthogonal(random, out, rank) * np.array(values) @ np.linalg.inv(mix)
    return a.astype(np.float32), b.astype(np.float32)


def spectra():
    """(layer, module, A, B) of each rank."""
    random = np.random.default_rng(16)
    normal = lambda *shape: random.normal(size=shape).astype(np.float32)
    for rank in [1, 2, 5, 12]:
        sites = []
        for layer, values in enumerate(
            [np.ones(rank), np.geomspace(1, 1e-4, rank), 1e3 * np.linspace(2, 1, rank), 1e-6 * np.arange(rank, 0, -1.0)]
        ):
            for module, (into, out) in SIZES.items():
                sites.append((layer, module, *with_values(random, into, out, rank, values)))
        for module, (into, out) in SIZES.items():
            sites.append((4, module, normal(rank, into), normal(out, rank)))
        into, out = SIZES["mlp.up_proj"]
        a, b = normal(rank, into), normal(out, rank)
        a[-1] = a[0]
        b[:, -1] = 0.5 * b[:, 0]
        sites.append((5, "mlp.up_proj", a, b))
        if rank == 2:
            sites.append((6, "mlp.up_proj", a, 0 * b))
        yield rank, sites


def figures(values, rank):
    values = np.sort(np.abs(values))[::-1][:rank]
    if not len(values) or values[0] == 0:
        return {}
    values = np.where(values < ZERO * values[0], 0, values)
    shares = values[values > 0] / values.sum()
    entropy = float(-(shares * np.log(shares)).sum())
    squares = (values / values[0]) ** 2
    flat = float(np.exp(np.log(squares).mean()) / squares.mean()) if (squares > 0).all() else 0.0
    return {
        "stable_rank": float(squares.sum()),
        "effective_rank": float(np.exp(entropy)),
        "spectrum_entropy": entropy,
        "spectrum_flatness": flat,
        "singular_values": values.tolist(),
    }


def of_adapter(a, b, scale):
    a, b = np.float64(a), np.float64(b)
    found = np.linalg.svd(scale * b @ a, compute_uv=False)
    rank = len(a)
    return figures(np.append(found, np.zeros(max(0, rank - len(found)))), rank)


def of_peft(folder):
    """The sites of a PEFT folder, each under its own rank and alpha; where names are no patterns."""
    config = json.loads((folder / "adapter_config.json").read_text())
    tensors = load_file(folder / "adapter_model.safetensors")
    sites = {}
    for name in (name for name in tensors if name.endswith("lora_A.weight")):
        a, b = tensors[name], tensors[name.replace("lora_A", "lora_B")]
        scale = config["lora_alpha"] / (np.sqrt(len(a)) if config.get("use_rslora") else len(a))
        sites[name.removeprefix(PREFIX).removesuffix(".lora_A.weight")] = of_adapter(a, b, scale)
    return sites


def of_full(path):
    """The stable ranks of the matrices of a full fine-tune in strait's own format."""
    stable = {}
    with safe_open(path, "numpy") as file:
        for name in file.keys():
            delta = np.float64(file.get_tensor(name))
            if delta.ndim == 2 and delta.any():
                values = np.linalg.svd(delta, compute_uv=False)
                stable[name.removeprefix("delta.")] = float((values**2).sum() / values[0] ** 2)
    return stable


def main(folder):
    folder = Path(folder)
    tensors, metadata, parts = {}, {"format": "strait.edit", "version": "1"}, []
    np.seterr(divide="ignore")
    for part, (rank, sites) in enumerate(spectra()):
        alpha, factor, rslora = 2.0 + rank, [1.0, -0.5][part % 2], part == 3
        scale = factor * alpha / (np.sqrt(rank) if rslora else rank)
        metadata |= {f"{part}.r": str(rank), f"{part}.alpha": str(alpha), f"{part}.rslora": str(rslora).lower()}
        metadata[f"{part}.factor"] = str(factor)
        found = {}
        for layer, module, a, b in sites:
            site = f"model.layers.{layer}.{module}"
            tensors[f"{part}.{PREFIX}{site}.lora_A.weight"] = a
            tensors[f"{part}.{PREFIX}{site}.lora_B.weight"] = b
            found[site] = of_adapter(a, b, scale)
        parts.append(found)
    metadata["parts"] = str(len(parts))
    save_file(tensors, folder / "spectra.safetensors", metadata)
    golden = {
        "lora": parts,
        "peft": {name: of_peft(folder / "peft" / name) for name in ["plain", "rslora"]},
        "full": {name: of_full(folder / "full" / f"{name}.safetensors") for name in ["llama", "qwen2"]},
    }
    (folder / "spectra.json").write_text(json.dumps(golden) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
