"""Small adapters of every make, and the loss that PEFT gives with each: adapters.py TINY_FOLDER OUT.json [STRAIT]

The file holds configs and the names and shapes of tensors; the values follow from a hash of case, name and place, which the
test computes as well (`value` below). What PEFT refuses, or would pass over in part, is to be refused ("refuse"). With a strait
program as third argument its exports of the adapters are opened with PEFT as well and must give the same losses.
"""

import copy
import json
import os
import random
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
warnings.simplefilter("ignore")

import torch
from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict
from safetensors.torch import save_file
from torch import nn

from common import load_model, make_deterministic

MODELS = ["llama", "llama3", "qwen2", "qwen3", "gemma2", "gemma3"]
ROWS = [[(7 * i * i + 3 * i + 11) % 300 for i in range(14)], [(5 * i * i + 29 * i + 2) % 300 for i in range(9)]]
ALL = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
MASK = 0xFFFFFFFF


def mixed(x):
    x ^= x >> 16
    x = x * 0x85EBCA6B & MASK
    x ^= x >> 13
    x = x * 0xC2B2AE35 & MASK
    return x ^ (x >> 16)


def value(case, name, shape):
    """Uniform numbers in [-0.2, 0.2): FNV-1a of `case/name`, mixed with the place."""
    seed = 0x811C9DC5
    for byte in f"{case}/{name}".encode():
        seed = (seed ^ byte) * 0x01000193 & MASK
    count = 1
    for size in shape:
        count *= size
    numbers = [(mixed(seed ^ (i * 0x9E3779B1 & MASK)) / 2**32 - 0.5) * 0.4 for i in range(count)]
    return torch.tensor(numbers, dtype=torch.float64).to(torch.float32).reshape(shape)


KEPT = {}


def fresh(tiny, name):
    """A model of its own."""
    if name not in KEPT:
        KEPT[name] = load_model(tiny / name)
    return copy.deepcopy(KEPT[name])


class Outer(nn.Module):
    """A model beside whose text model others stand, as those with eyes are."""

    def __init__(self, causal, place):
        super().__init__()
        self.eyes = nn.Module()
        self.eyes.vision_tower = nn.Linear(4, 4)
        if place == "model.language_model.":
            self.model = nn.Module()
            self.model.language_model = causal.model
            self.lm_head = causal.lm_head
        elif place == "language_model.model.":
            self.language_model = causal
        else:
            self.language_model = causal.model

    def text(self):
        if hasattr(self, "model"):
            return self.model.language_model, self.lm_head
        if hasattr(self.language_model, "lm_head"):
            return self.language_model.model, self.language_model.lm_head
        return self.language_model, None


class Wrapped:
    """A model in one of the makes, and its losses."""

    def __init__(self, tiny, name, place):
        self.causal = fresh(tiny, name)
        if place == "model.":
            self.module = self.causal
        elif place == "":
            self.module = self.causal.model
        else:
            self.module = Outer(self.causal, place)

    def loss(self):
        body, head = self.module.text() if isinstance(self.module, Outer) else (self.causal.model, self.causal.lm_head)
        head = head or self.causal.lm_head
        cap = getattr(self.causal.config, "final_logit_softcapping", None)
        losses = []
        for row in ROWS:
            with torch.no_grad():
                ids = torch.tensor([row])
                logits = head(body(input_ids=ids).last_hidden_state)[0]
            logits = cap * torch.tanh(logits / cap) if cap else logits
            losses.append(nn.functional.cross_entropy(logits[:-1], ids[0, 1:], reduction="none"))
        return torch.cat(losses).double().mean().item()


def tensors_of(tiny, model, place, config, tables):
    """The tensors that PEFT would save: name -> (shape, kind)."""
    wrapped = Wrapped(tiny, model, place)
    peft = get_peft_model(wrapped.module, LoraConfig(**config))
    named = {}
    for name, tensor in get_peft_model_state_dict(peft, save_embedding_layers=tables).items():
        named[name] = (list(tensor.shape), "random" if "lora_" in name else "model")
    return named


def table_of(causal, name):
    return (causal.lm_head if "lm_head" in name else causal.model.embed_tokens).weight.detach()


def materialise(case, causal, folder):
    tensors = {}
    for name, (shape, kind) in case["tensors"].items():
        if kind == "model":
            tensors[name] = table_of(causal, name).clone()
        elif kind == "zero":
            tensors[name] = torch.zeros(shape)
        elif kind == "nan":
            tensors[name] = value(case["name"], name, shape)
            tensors[name].view(-1)[-1] = float("nan")
        else:
            tensors[name] = value(case["name"], name, shape)
    folder.mkdir(parents=True)
    (folder / "adapter_config.json").write_text(json.dumps(case["config"]))
    save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})


def peft_says(tiny, case):
    """The loss with PEFT, or "refuse" with why."""
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent) / "adapter"
        materialise(case, fresh(tiny, case["model"]), folder)
        wrapped = Wrapped(tiny, case["model"], case["place"])
        try:
            model = PeftModel.from_pretrained(wrapped.module, folder)
            result = model.load_adapter(folder, "default")
        except Exception as error:
            return "refuse", f"{type(error).__name__}: {error}"[:80]
        if result.missing_keys or result.unexpected_keys:
            return "refuse", f"missing {result.missing_keys[:1]}, passed over {result.unexpected_keys[:1]}"
        return wrapped.loss(), ""


CASES = []


def add(tiny, name, model, place="model.", tables=True, saved=None, mutate=None, refuse=False, **config):
    """A case whose tensors are those that PEFT saves under the config, or under `saved` where a broken one is tried."""
    full = {"r": 3, "lora_alpha": 5, "target_modules": ["q_proj"], **config}
    named = tensors_of(tiny, model, place, copy.deepcopy(saved or full), tables)
    written = {"peft_type": "LORA", "task_type": None, "base_model_name_or_path": None, **full}
    case = {"name": name, "model": model, "place": place, "config": written, "tensors": named}
    if mutate:
        mutate(case)
    said, why = peft_says(tiny, case)
    if refuse:
        said = "refuse"
    CASES.append({**case, "expected": said})
    print(f"{name:40} {model:7} {place:22} {said if said == 'refuse' else round(said, 5)} {why}")


def renamed(old, new):
    def mutate(case):
        case["tensors"] = {name.replace(old, new): spec for name, spec in case["tensors"].items()}

    return mutate


def kind(part, kind):
    def mutate(case):
        for name, spec in case["tensors"].items():
            if part in name:
                case["tensors"][name] = (spec[0], kind)

    return mutate


def key(name, value):
    def mutate(case):
        case["config"][name] = value

    return mutate


def without(part):
    def mutate(case):
        case["tensors"] = {name: spec for name, spec in case["tensors"].items() if part not in name}

    return mutate


def by_hand(tiny):
    """Each kind once or twice, on purpose."""
    for model in MODELS:
        add(tiny, "head", model, target_modules=["lm_head"])
        add(tiny, "embeddings", model, target_modules=["embed_tokens"])
        add(tiny, "both ends", model, target_modules=["embed_tokens", "lm_head", "down_proj"], use_rslora=True)
        add(tiny, "both ends, no tables", model, tables=False, target_modules=["embed_tokens", "lm_head"])
        add(tiny, "all linear", model, target_modules="All-Linear", rank_pattern={"o_proj": 1})
    for place in ["", "model.language_model.", "language_model.model.", "language_model."]:
        for model in ["llama", "gemma3"]:
            add(tiny, "all seven", model, place, target_modules=ALL)
            add(tiny, "text pattern", model, place, target_modules=r".*layers\.[02]\..*(q|down)_proj")
            add(tiny, "embeddings", model, place, target_modules=["embed_tokens", "v_proj"], tables=False)
    for place in ["model.language_model.", "language_model.model."]:
        add(tiny, "head", "llama", place, target_modules=["lm_head", "q_proj"], tables=False)
    eyes = "base_model.model.eyes.vision_tower.lora_"
    def seeing(case):
        case["tensors"][eyes + "A.weight"] = ([3, 4], "random")
        case["tensors"][eyes + "B.weight"] = ([4, 3], "random")
    add(tiny, "eyes", "gemma3", "model.language_model.", target_modules=["q_proj", "vision_tower"], mutate=seeing,
        saved={"r": 3, "lora_alpha": 5, "target_modules": ["q_proj"]})

    for start in ["gaussian", "Gaussian", "orthogonal", "mica", "MICA", True, False, None, "eva"]:
        even = {"r": 4, "lora_alpha": 4, "target_modules": ["q_proj"]}
        add(tiny, f"start {start}", "llama", saved=even, init_lora_weights=start, **even)
    for start in ["OLoRA", "olora", "pissa", "PISSA", "PiSSA_niter_4", "pissa_niter_4", "corda", "CorDA", "LoftQ", "loftq", "lora_ga", "other"]:
        add(tiny, f"start {start}", "llama", mutate=key("init_lora_weights", start), refuse=True)

    def refused(name, config_key, value, model="llama", **more):
        add(tiny, f"{config_key} {name}", model, mutate=key(config_key, value), refuse=True, **more)

    refused("true", "use_dora", True)
    refused("all", "bias", "all", "qwen2")
    refused("true", "lora_bias", True)
    refused("head", "modules_to_save", ["lm_head"])
    refused("two", "trainable_token_indices", [1, 2])
    refused("doubled", "layer_replication", [[0, 4], [2, 4]])
    refused("some", "target_parameters", ["mlp.up_proj.weight"])
    refused("tokens", "alora_invocation_tokens", [3])
    refused("true", "use_qalora", True)
    refused("some", "megatron_config", {"a": 1})
    refused("defaults", "kasa_config", {})
    refused("some", "kasa_config", {"beta": 0.1})
    refused("some", "velora_config", {"num_groups": 4})
    refused("unknown", "use_something_new", True)
    refused("text", "lora_alpha", "5")
    refused("zero", "r", 0)
    refused("list", "rank_pattern", ["q_proj"])
    refused("zero", "rank_pattern", {"q_proj": 0})
    refused("other", "rank_pattern", {"q_proj": 2})
    refused("flag inside", "alpha_pattern", {"(?i)Q_proj": 2})
    refused("broken", "alpha_pattern", {"(q_proj": 2})
    refused("task", "task_type", "SEQ_CLS")
    refused("IA3", "peft_type", "IA3")
    refused("pattern alone", "layers_pattern", "layers")
    refused("beside a text", "layers_to_transform", [1], target_modules=r".*q_proj",
            saved={"r": 3, "lora_alpha": 5, "target_modules": r".*q_proj"})
    add(tiny, "tied", "llama3", mutate=key("ensure_weight_tying", True), target_modules=["embed_tokens"], tables=False, refuse=True)
    add(tiny, "tied, of projections", "llama3", ensure_weight_tying=True)
    add(tiny, "fan in", "llama", fan_in_fan_out=True)
    add(tiny, "harmless keys", "llama", lora_dropout=0.3, inference_mode=True, revision="main", loftq_config={},
        megatron_core="megatron.core", qalora_group_size=16)
    add(tiny, "alpha zero", "llama", lora_alpha=0)
    add(tiny, "alpha below", "llama", lora_alpha=-2.5)
    add(tiny, "zeros", "llama", mutate=kind("lora_B", "zero"))
    add(tiny, "no number", "llama", mutate=kind("layers.1.self_attn.q_proj.lora_A", "nan"), refuse=True)
    add(tiny, "default target", "llama", saved={"r": 3, "lora_alpha": 5, "target_modules": ["q_proj", "v_proj"]},
        target_modules=None)

    add(tiny, "named default", "llama", target_modules=["embed_tokens", "q_proj", "lm_head"], tables=False,
        mutate=lambda case: (renamed(".weight", ".default.weight")(case), renamed("lora_embedding_A", "lora_embedding_A.default")(case),
                             renamed("lora_embedding_B", "lora_embedding_B.default")(case)))
    add(tiny, "named other", "llama", mutate=renamed(".weight", ".other.weight"))
    add(tiny, "unwrapped", "llama", mutate=renamed("base_model.model.", ""))
    add(tiny, "wrapped thrice", "llama", mutate=renamed("base_model.model.", "base_model.model.model."))
    add(tiny, "compiled", "llama", mutate=renamed("base_model.model.", "base_model.model._orig_mod."))
    add(tiny, "bare names", "llama", mutate=renamed("model.model.layers", "model.layers"), refuse=True)
    CASES.pop()  # it is a sound adapter of the bare model: which model it is for stands nowhere
    add(tiny, "layer with a zero", "llama", mutate=renamed("layers.1.", "layers.01."))
    add(tiny, "half", "llama", mutate=without("layers.2.self_attn.q_proj.lora_B"))
    add(tiny, "one less", "llama", mutate=without("layers.2."))
    add(tiny, "more than named", "llama", saved={"r": 3, "lora_alpha": 5, "target_modules": ["q_proj", "k_proj"]})
    add(tiny, "more named", "llama", saved={"r": 3, "lora_alpha": 5, "target_modules": ["q_proj"]}, target_modules=["q_proj", "up_proj"])
    add(tiny, "excluded", "llama", saved={"r": 3, "lora_alpha": 5, "target_modules": ["q_proj", "k_proj"]},
        target_modules=["q_proj", "k_proj"], exclude_modules=["k_proj"])
    add(tiny, "other layers", "llama", saved={"r": 3, "lora_alpha": 5, "target_modules": ["q_proj"], "layers_to_transform": [1]},
        layers_to_transform=[2])
    for target in ["lm_head", "embed_tokens"]:
        add(tiny, f"other table {target}", "llama", target_modules=[target], mutate=kind("base_layer", "random"), refuse=True)
    add(tiny, "saved embeddings", "llama", mutate=lambda case: case["tensors"].update(
        {"base_model.model.model.embed_tokens.weight": ([304, 32], "model"), "base_model.model.lm_head.weight": ([304, 32], "model")}))
    add(tiny, "saved other embeddings", "llama", mutate=lambda case: case["tensors"].update(
        {"base_model.model.model.embed_tokens.weight": ([304, 32], "random")}), refuse=True)


TARGETS = [
    ALL,
    ["q_proj", "v_proj"],
    ["down_proj", "lm_head"],
    ["embed_tokens", "o_proj"],
    ["model.layers.1.mlp.up_proj", "layers.3.self_attn.k_proj", "mlp.gate_proj"],
    ["self_attn.q_proj", "lm_head", "embed_tokens"],
    r".*\.(q|k|v)_proj",
    r"model\.layers\.(?!1\.)\d+\.mlp\.(up|down)_proj",
    r"(?i).*LAYERS\.[0-2]\..*o_proj|lm_head",
    "all-linear",
]
PATTERNS = [
    ["q_proj", "down_proj"],
    ["^model.layers.1.mlp.up_proj", "layers.0.self_attn.q_proj"],
    [r".*layers\.[13]\..*", "q_proj"],
    ["q_proj|k_proj", "(up|gate|down)_proj$"],
    ["lm_head", "embed_tokens", r"layers\.\d\.self_attn\.o_proj"],
    [r"(?!.*layers\.0)layers\..*proj", r"model\.layers\.0\.[a-z_]+\.[a-z]_proj"],
    ["proj", "attn.q_proj", "no_such_module"],
]


def drawn(tiny, count):
    """Many more, drawn over targets, patterns, layers, exclusions, places, ranks and scales."""
    rng = random.Random(12)
    for index in range(count):
        target = rng.choice(TARGETS)
        config = {"r": rng.choice([1, 2, 4]), "lora_alpha": rng.choice([1, 4, 16, 0.5]), "target_modules": target}
        config["use_rslora"] = rng.random() < 0.4
        if rng.random() < 0.6:
            config["rank_pattern"] = {text: rng.choice([1, 2, 3, 5]) for text in rng.choice(PATTERNS)}
        if rng.random() < 0.6:
            config["alpha_pattern"] = {text: rng.choice([1, 2, 8, 0.25]) for text in rng.choice(PATTERNS)}
        if isinstance(target, list) and rng.random() < 0.4:
            config["layers_to_transform"] = rng.choice([[0, 2], 1, [3], [0, 1, 2, 3, 9]])
            config["layers_pattern"] = rng.choice([None, "layers", ["h", "layers"], []])
        if rng.random() < 0.3:
            config["exclude_modules"] = rng.choice([["q_proj"], ["layers.1.mlp.down_proj"], r".*layers\.2\..*", ["lm_head"]])
        model = rng.choice(MODELS)
        place = "model." if rng.random() < 0.6 else rng.choice(["", "model.language_model.", "language_model.model."])
        if place != "model." and (target == "all-linear" or r"model\." in str(target)):
            place = "model."
        try:
            add(tiny, f"drawn {index}", model, place, tables=rng.random() < 0.5, **config)
        except ValueError as error:
            print(f"drawn {index}: nothing to adapt ({str(error)[:60]})")


def check_exports(tiny, strait):
    """Each adapter that is read, as strait exports it, opened with PEFT again."""
    worst = 0.0
    checked = 0
    for case in CASES:
        # Zero scales and tables of the stream aside, all can be exported; to the text model alone, whatever it came from.
        if case["expected"] == "refuse":
            continue
        with tempfile.TemporaryDirectory() as parent:
            folder, out = Path(parent) / "adapter", Path(parent) / "out"
            materialise(case, fresh(tiny, case["model"]), folder)
            done = subprocess.run([strait, "edit", "convert", folder, out], capture_output=True, text=True)
            if done.returncode != 0:
                sys.exit(f"{case['name']} on {case['model']}: {done.stderr}")
            wrapped = Wrapped(tiny, case["model"], "model.")
            model = PeftModel.from_pretrained(wrapped.module, out)
            result = model.load_adapter(out, "default")
            if result.missing_keys or result.unexpected_keys:
                sys.exit(f"{case['name']} on {case['model']}: {result}")
            apart = abs(wrapped.loss() - case["expected"])
            if apart > 2e-5:
                sys.exit(f"{case['name']} on {case['model']}: {wrapped.loss()} for {case['expected']}")
            worst, checked = max(worst, apart), checked + 1
    print(f"{checked} exports open in PEFT to the same losses, at most {worst:.1e} apart")


def main():
    tiny, out = Path(sys.argv[1]), Path(sys.argv[2])
    make_deterministic()
    by_hand(tiny)
    drawn(tiny, 240)
    names = [case["name"] + case["model"] + case["place"] for case in CASES]
    assert len(set(names)) == len(names)
    lines = ",\n".join(json.dumps(case, separators=(",", ":")) for case in CASES)
    out.write_text(f'{{"rows":{json.dumps(ROWS)},"cases":[\n{lines}\n]}}\n')
    read = sum(case["expected"] != "refuse" for case in CASES)
    print(f"{len(CASES)} adapters: {read} to be read, {len(CASES) - read} to be refused; {out.stat().st_size} bytes")
    if len(sys.argv) > 3:
        check_exports(tiny, sys.argv[3])


if __name__ == "__main__":
    main()
