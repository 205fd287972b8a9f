"""LoRA adapters as PEFT and other tools write them."""

import json

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file

from reference import Case, load_model

ATTENTION, GATED = ["q_proj", "k_proj", "v_proj", "o_proj"], ["gate_proj", "up_proj", "down_proj"]
CONVERSATIONS = [
    ([{"role": "user", "content": "what is a lamp?"}, {"role": "assistant", "content": "a lamp gives light."}], None),
    ([{"role": "user", "content": "and a car"}, {"role": "assistant", "content": "It has four wheels, mostly."}], None),
]


def settings(rng, layers):
    options = {"r": rng.choice([1, 2, 4, 7]), "lora_alpha": rng.choice([1, 8, 16, 3]), "task_type": "CAUSAL_LM", "bias": "none"}
    target = rng.choice(["some", "some", "all", "regex", "one", "head", "embedding", "mixed"])
    pool = ATTENTION + GATED
    options["target_modules"] = {
        "some": lambda: rng.sample(pool, rng.randint(1, 5)),
        "all": lambda: "all-linear",
        "regex": lambda: rng.choice([r".*\.(q|v)_proj", r".*layers\.[02]\..*_proj", r"model\.layers\.1\.mlp\.(up|down)_proj", r".*self_attn\.(?!o_).*_proj"]),
        "one": lambda: [f"layers.{rng.randrange(layers)}.{rng.choice(['mlp.down_proj', 'self_attn.q_proj'])}"],
        "head": lambda: ["lm_head"] + rng.sample(pool, 1),
        "embedding": lambda: ["embed_tokens"] + rng.sample(pool, 1),
        "mixed": lambda: rng.sample(pool, 2) + ["lm_head", "embed_tokens"],
    }[target]()
    if rng.random() < 0.25:
        options["use_rslora"] = True
    if rng.random() < 0.3:
        options["rank_pattern"] = rng.choice([{"q_proj": 3}, {r"layers.0.mlp.up_proj": 2, "down_proj": 5}, {r".*layers\.1\..*": 6}, {"^model.layers.0.self_attn.q_proj": 1}])
    if rng.random() < 0.3:
        options["alpha_pattern"] = rng.choice([{"q_proj": 2}, {"down_proj": 32, "q_proj": 1}, {r"layers\.[01]\..*_proj": 5}])
    if rng.random() < 0.2 and isinstance(options["target_modules"], list):
        options["layers_to_transform"] = rng.choice([0, [1, 2]])
    if rng.random() < 0.1:
        options["exclude_modules"] = rng.choice([["k_proj"], r".*layers\.0\..*"])
    if rng.random() < 0.1:
        options["bias"] = rng.choice(["all", "lora_only"])
    if rng.random() < 0.07:
        options["use_dora"] = True
    if rng.random() < 0.05:
        options["modules_to_save"] = ["lm_head"]
    if rng.random() < 0.05:
        options["lora_bias"] = True
    options["init_lora_weights"] = rng.choice([True, True, True, "gaussian", "orthogonal", False])
    return options


def renamed(rng, tensors):
    """The same tensors under names that other tools give them."""
    way = rng.choice(["as saved", "as saved", "as saved", "as saved", "adapter name", "bare"])
    if way == "adapter name":
        return way, {k.replace(".lora_A.weight", ".lora_A.default.weight").replace(".lora_B.weight", ".lora_B.default.weight"): t for k, t in tensors.items()}
    if way == "bare" and all(k.startswith("base_model.model.model.") for k in tensors):
        return way, {k.replace("base_model.model.model.", "base_model.model.", 1): t for k, t in tensors.items()}
    return "as saved", tensors


def cases(rng, count, bases, scratch):
    for number in range(count):
        base = rng.choice(bases)
        model = load_model(base)
        options = settings(rng, model.config.num_hidden_layers)
        folder = scratch / f"adapter-{number}"
        try:
            edited = get_peft_model(model, LoraConfig(**options))
        except Exception:
            continue
        torch.manual_seed(number)
        with torch.no_grad():
            for name, parameter in edited.named_parameters():
                if "lora_" in name or "modules_to_save" in name or (options["bias"] != "none" and name.endswith("bias")):
                    parameter += 0.05 * torch.randn_like(parameter)
        edited.save_pretrained(folder)
        way, tensors = renamed(rng, load_file(folder / "adapter_model.safetensors"))
        edited = PeftModel.from_pretrained(load_model(base), folder).eval()
        if rng.random() < 0.2:
            config = json.loads((folder / "adapter_config.json").read_text())
            config["peft_type"] = rng.choice(["LORA", "lora", "Lora"]) if way == "as saved" else "LORA"
            if config["init_lora_weights"] is True:
                config["init_lora_weights"] = rng.choice(["OLoRA", "olora", "PiSSA", "pissa_niter_4", True])
            (folder / "adapter_config.json").write_text(json.dumps(config))
            if isinstance(config["init_lora_weights"], str) and config["init_lora_weights"].lower().startswith(("olora", "pissa")):
                edited = "the base weights were changed"
        save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
        if rng.random() < 0.1:
            torch.save(tensors, folder / "adapter_model.bin")
            (folder / "adapter_model.safetensors").unlink()
        what = ", ".join([base.name, way] + [f"{k}={v}" for k, v in options.items() if k not in ("task_type",)])
        yield Case("adapter", what, base, {}, CONVERSATIONS, adapter=folder, edited=edited)
