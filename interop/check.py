#!/usr/bin/env python3
"""Holds the files that strait writes and reads against the programs that they are for.

    cargo build --workspace --bins --examples
    python3 -m venv .venv && .venv/bin/pip install -r interop/requirements.txt
    .venv/bin/python interop/check.py [--build target/debug] [--model FOLDER]

On the tiny models of the tests, and on a Hugging Face folder where one is named, with random edits. Each check prints a line with
the largest difference; exits 1 if one fails.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

import gguf
import numpy as np
import torch
from peft import PeftModel
from repeng import ControlModel, ControlVector
from safetensors.numpy import load_file
from safetensors.torch import load_file as load_torch_file
from transformers import AutoModelForCausalLM
from transformers.utils import logging

from shared import IDS, ROOT, Checks, ablation, lora, steering

TINY = ROOT / "crates/strait-model/tests/fixtures/tiny"


def theirs(model):
    with torch.no_grad():
        return model(torch.tensor([IDS])).logits[0].double().numpy()


def load(path):
    return AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32, attn_implementation="eager").eval()


def of_peft(checks, model, folder, rng):
    config = load(model).config
    own = folder / "lora.safetensors"
    part = lora(own, config, rng)
    ours = checks.logits(model, own)
    checks.strait("edit", "convert", own, folder / "adapter")
    adapted = PeftModel.from_pretrained(load(model), folder / "adapter").eval()
    checks.near("PEFT loads the adapter to the same logits", theirs(adapted), ours)
    checks.strait("edit", "convert", own, folder / "merged", "--model", model)
    checks.near("transformers loads the merged folder to the same logits", theirs(load(folder / "merged")), ours)
    again = folder / "again"
    adapted.save_pretrained(again)
    checks.near("what PEFT saves is read to the same logits", checks.logits(model, again), ours)
    return part


def of_ablation(checks, model, folder, part, rng):
    """The folder against transformers' own model in which hooks take the direction out of all that is written."""
    base = load(model)
    layers, width = base.config.num_hidden_layers, base.config.hidden_size
    vector = rng.normal(size=width).astype(np.float32)
    edit = folder / "ablation.safetensors"
    ablation(edit, vector, layers, part)
    out = folder / "ablated"
    checks.strait("edit", "convert", edit, out, "--model", model)
    written = load(out)
    checks.near("strait reads the ablated folder as transformers does", checks.logits(out), theirs(written))
    unit = torch.tensor(vector / np.linalg.norm(vector))

    def taken_out(stream):
        return stream - (stream @ unit)[..., None] * unit

    hooked = load(folder / "merged")
    places = [hooked.model.embed_tokens]
    for block in hooked.model.layers:
        places += [block.self_attn.o_proj, block.mlp.down_proj]
    for place in places:
        place.register_forward_hook(lambda module, inputs, output: taken_out(output))
    expected = theirs(hooked)
    checks.near("the folder is the model with the direction out of all that is written", theirs(written), expected)
    # After blocks alone, as the edit does it: the difference is what attention writes and its MLP reads.
    between = checks.logits(model, edit)
    print(f"     the edit, which acts after blocks, is {np.abs(between - expected).max():.1e} apart from it")


def of_gguf_adapter(checks, model, folder):
    """What convert_lora_to_gguf.py would write, by the gguf package and by its arithmetic."""
    base = load(model)
    config = base.config
    path = folder / "lora.gguf"
    checks.strait("edit", "convert", folder / "lora.safetensors", path, "--model", model)
    reader = gguf.GGUFReader(path)
    text = lambda key: bytes(reader.get_field(key).parts[-1]).decode()
    number = lambda key: float(reader.get_field(key).parts[-1][0])
    arch = {"llama": "llama", "qwen2": "qwen2"}[config.model_type]
    checks.true("general.type, adapter.type and general.architecture", (text("general.type"), text("adapter.type"), text("general.architecture")) == ("adapter", "lora", arch))
    names = gguf.get_tensor_name_map(getattr(gguf.MODEL_ARCH, arch.upper()), config.num_hidden_layers)
    tensors = {t.name: t.data for t in reader.tensors}
    apart, alpha = 0.0, number("adapter.lora.alpha")
    own = load_file(folder / "lora.safetensors")
    for name, a in own.items():
        if not name.endswith("lora_A.weight"):
            continue
        module = name.removeprefix("base_model.model.").removesuffix(".lora_A.weight")
        b = own[name.replace("lora_A", "lora_B")]
        delta = 0.5 * 5.0 / a.shape[0] * (b.astype(float) @ a)
        if arch == "llama" and module.endswith(("q_proj", "k_proj")):
            heads = config.num_attention_heads if module.endswith("q_proj") else config.num_key_value_heads
            # LlamaModel.permute of convert_hf_to_gguf.py.
            delta = delta.reshape(heads, 2, delta.shape[0] // heads // 2, -1).swapaxes(1, 2).reshape(delta.shape)
        stored = names.get_name(module + ".weight", try_suffixes=(".weight",))
        ga, gb = tensors.pop(f"{stored}.lora_a"), tensors.pop(f"{stored}.lora_b")
        found = alpha / ga.shape[0] * (gb.astype(float) @ ga)
        apart = max(apart, float(np.abs(found - delta).max()))
    checks.near("the gguf package reads llama.cpp's deltas under llama.cpp's names", apart, 0.0, 1e-5)
    checks.true("there are no other tensors", not tensors)
    back = checks.logits(model, path)
    checks.near("the GGUF adapter has the same logits", back, checks.logits(model, folder / "lora.safetensors"))


def of_control_vectors(checks, model, folder, rng):
    base = load(model)
    layers, width = base.config.num_hidden_layers, base.config.hidden_size
    own, path = folder / "vectors.safetensors", folder / "vectors.gguf"
    vectors = steering(own, range(1, layers), width, rng)
    checks.strait("edit", "convert", own, path, "--model", model)
    read = ControlVector.import_gguf(path)
    checks.true("repeng reads the model hint", read.model_type == base.config.model_type)
    checks.true("repeng reads the layers", set(read.directions) == set(vectors))
    apart = max(np.abs(read.directions[layer] - vectors[layer]).max() for layer in vectors)
    checks.near("repeng reads the vectors", apart, 0.0, 0.0)
    read.directions[0] = np.zeros(width, dtype=np.float32)
    steered = ControlModel(base, list(range(1, layers)))
    # repeng 0.4.0 hides what newer models ask a layer for.
    for module in base.model.layers[1:]:
        module.attention_type = getattr(module.block, "attention_type", None)
    steered.set_control(read)
    ours = checks.logits(model, own)
    checks.near("repeng steers to the same logits", theirs(steered), ours)
    mine = folder / "repeng.gguf"
    ControlVector(model_type="llama", directions=vectors).export_gguf(mine)
    checks.near("what repeng writes is read to the same logits", checks.logits(model, mine), ours)
    inspected = json.loads(checks.strait("edit", "inspect", mine, "--json"))
    checks.true("no note is made of a file of repeng's", inspected["notes"] == [])


def of_torch(checks, model, folder, rng):
    """The papers' files in both shapes, and a steering vector by the four lines of Python that the book shows."""
    base = load(model)
    dictionary, bare, path = folder / "dictionary.pt", folder / "bare.pt", folder / "vector.safetensors"
    vector = torch.tensor(rng.normal(size=base.config.hidden_size), dtype=torch.float32)
    torch.save({"steering_vector": vector, "layer_idx": 2, "d_model": len(vector), "alpha": 4.0}, dictionary)
    torch.save(vector[:, None], bare)
    checks.strait("edit", "convert", dictionary, path)
    (name, v), = load_torch_file(path).items()
    layer = int(name.removeprefix("steering."))
    checks.true("the vector has its alpha in it and its layer in its name", layer == 2 and torch.equal(v, 4 * vector))
    add = lambda _, __, out: (out[0] + v, *out[1:]) if isinstance(out, tuple) else out + v
    base.model.layers[layer].register_forward_hook(add)
    steered = theirs(base)
    checks.near("four lines of Python steer to the same logits", steered, checks.logits(model, path))
    checks.near("so does the papers' dictionary", checks.logits(model, dictionary), steered)
    checks.near("so does the papers' bare vector", checks.logits(model, f"{bare}@2*4"), steered)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default=ROOT / "target/debug", help="the folder of the built programs")
    parser.add_argument("--model", type=Path, help="a Hugging Face folder of a Llama or a Qwen2, besides the tiny ones")
    arguments = parser.parse_args()
    logging.disable_progress_bar()
    checks = Checks(arguments.build)
    models = [TINY / name for name in ["llama", "llama3", "qwen2"]]
    for model in models + [model for model in [arguments.model] if model]:
        print(model.name)
        rng = np.random.default_rng(7)
        with tempfile.TemporaryDirectory() as folder:
            folder = Path(folder)
            checks.near("the model itself", theirs(load(model)), checks.logits(model))
            part = of_peft(checks, model, folder, rng)
            of_ablation(checks, model, folder, part, rng)
            of_gguf_adapter(checks, model, folder)
            of_control_vectors(checks, model, folder, rng)
            of_torch(checks, model, folder, rng)
    print("all the same" if not checks.failed else f"{checks.failed} differ")
    sys.exit(checks.failed > 0)


if __name__ == "__main__":
    main()
