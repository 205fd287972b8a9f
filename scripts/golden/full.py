"""A full fine-tune of a model, and the logits of transformers with it in the weights: `python full.py FOLDER OUT [TEXT]`.

FOLDER is one that tiny.py wrote, or `model` of a world's; OUT.safetensors becomes the edit in strait's own format, OUT.json the golden values. The
change of every weight is random. With `--check FOLDER OUT CONVERTED FACTOR` nothing is written: CONVERTED is a folder that
`strait edit convert` wrote, and its logits under transformers are held against those of OUT.json at that factor.
"""

import hashlib
import json
import sys
from pathlib import Path

import torch
from safetensors.numpy import save_file

import common

TOLERANCE = 1e-4
FACTORS = [1.0, -0.5]
TEXT = "The bees make honey, and the sky is blue."
# How large the change is beside a weight's own spread.
SHARE = 0.2


def weights(model):
    """The model's weights by name, a tied head left out: what a full fine-tune changes."""
    return {name: parameter.detach() for name, parameter in model.named_parameters()}


def order(model):
    """The names in the order of strait's fingerprint: of a block the projections with their biases, then the norms."""
    own = set(weights(model))
    names = ["model.embed_tokens.weight"]
    blocks = model.config.num_hidden_layers
    projections = [f"self_attn.{p}_proj" for p in "qkvo"] + [f"mlp.{p}_proj" for p in ("gate", "up", "down")]
    norms = ["self_attn.q_norm", "self_attn.k_norm", "input_layernorm", "post_attention_layernorm"]
    for block in range(blocks):
        parts = [f"{p}.{end}" for p in projections for end in ("weight", "bias")] + [f"{n}.weight" for n in norms]
        names += [f"model.layers.{block}.{part}" for part in parts]
    names = [name for name in names + ["model.norm.weight", "lm_head.weight"] if name in own]
    if set(names) != own:
        sys.exit(f"weights that have no place in the order: {sorted(own - set(names))}")
    return names


def fingerprint(model):
    """SHA-256 over the SHA-256s of all weights, each of its name, its shape and its numbers as little-endian float32."""
    whole = hashlib.sha256()
    own = weights(model)
    for name in order(model):
        shape = "[" + ", ".join(str(size) for size in own[name].shape) + "]"
        one = hashlib.sha256(f"{name} {shape} ".encode())
        one.update(own[name].float().numpy().astype("<f4").tobytes())
        whole.update(one.digest())
    return whole.hexdigest()


def last_logits(model, ids):
    with torch.no_grad():
        return model(torch.tensor([ids])).logits[0, -1]


def with_change(folder, deltas, factor, dtype=torch.float32):
    model = common.load_model(folder).to(dtype)
    for name, weight in weights(model).items():
        weight += factor * deltas[name].to(dtype)
    return model


def make(folder, out, text=TEXT):
    base = common.load_model(folder)
    ids = common.encode(common.load_tokenizer(folder), text)
    generator = torch.Generator().manual_seed(5)
    deltas = {
        name: SHARE * float(weight.std()) * torch.randn(weight.shape, generator=generator)
        for name, weight in weights(base).items()
    }
    cases = []
    for factor in FACTORS:
        found = last_logits(with_change(folder, deltas, factor), ids)
        double = with_change(folder, deltas, factor, torch.float64)
        with common.precision(torch.float64):
            exact = last_logits(double, ids)
        apart = (found.double() - exact).abs().max().item()
        if apart > TOLERANCE:
            sys.exit(f"float32 lies {apart} from float64")
        moved = (found - last_logits(base, ids)).abs().max().item()
        if moved < 100 * TOLERANCE:
            sys.exit(f"the change moves the logits by {moved} only")
        cases.append({"ids": ids, "factor": factor, "logits": found})
    out.parent.mkdir(parents=True, exist_ok=True)
    golden = {"base": fingerprint(base), "cases": cases}
    metadata = {"format": "strait.edit", "version": "1", "factor": "1", "base": golden["base"]}
    tensors = {f"delta.{name}": deltas[name].numpy() for name in order(base)}
    save_file(tensors, out.with_suffix(".safetensors"), metadata)
    common.write_json(out.with_suffix(".json"), golden)
    print(f"{out}: {len(tensors)} weights, {len(cases)} cases")


def check(folder, out, converted, factor):
    golden = json.loads(out.with_suffix(".json").read_text())
    (case,) = [case for case in golden["cases"] if case["factor"] == factor]
    model = common.load_model(converted)
    apart = (last_logits(model, case["ids"]) - torch.tensor(case["logits"])).abs().max().item()
    text = common.load_tokenizer(folder).decode(case["ids"])
    same = common.encode(common.load_tokenizer(converted), text) == common.encode(common.load_tokenizer(folder), text)
    print(f"{converted}: the largest difference of a logit is {apart:.2g}")
    if apart > TOLERANCE or not same:
        sys.exit("transformers computes something else")


if __name__ == "__main__":
    common.make_deterministic()
    if sys.argv[1] == "--check":
        check(Path(sys.argv[2]), Path(sys.argv[3]), Path(sys.argv[4]), float(sys.argv[5]))
    else:
        make(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:])
