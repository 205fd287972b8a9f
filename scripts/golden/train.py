"""Ten optimiser steps of PyTorch for a training loop to be held against, step by step.

usage: train.py LLAMA_FOLDER OUT_DIR
LLAMA_FOLDER is the folder `llama` that tiny.py wrote; OUT_DIR gets rows.jsonl, kl.jsonl, rank1/, rank4/ (PEFT folders
with B = 0), golden_train.json, and golden_full.json with the runs of a full fine-tune.
"""

import contextlib
import json
import math
import random
import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from peft import PeftModel
from safetensors.torch import load_file, save_file

from common import (
    disagreement,
    encode_chat,
    kl_per_token,
    load_model,
    load_tokenizer,
    make_deterministic,
    precision,
    steering,
    write_json,
)

STEPS, WARMUP = 10, 3
ROWS_PER_BATCH, BATCHES_PER_STEP = 2, 2
OPTIMISER = {"betas": [0.9, 0.999], "eps": 1e-8, "weight_decay": 0.01}
CLIP_NORM, CLIP_EPS = 1.0, 1e-6
COSINE_PEAK = 0.01
ORDER_SEED, ADAPTER_SEED = 7, 11

STEERING_LAYER, STEERING_PEAK = 1, 0.05
PROJECTIONS = {
    "self_attn": ["q_proj", "k_proj", "v_proj", "o_proj"],
    "mlp": ["gate_proj", "up_proj", "down_proj"],
}
ADAPTERS = {
    "rank1": {"rank": 1, "alpha": 2, "layers": [2], "projections": ["down_proj"], "peak": 0.05},
    "rank4": {"rank": 4, "alpha": 4, "layers": [1, 3], "projections": sum(PROJECTIONS.values(), []), "peak": 0.01},
}
FULL_PEAK = 0.002
# Numbers of each weight that are written down.
SHOWN = 48
KL_WEIGHTS = [0.0, 0.5]
# How far figures in float32 may lie from the same figures in float64 (norm of the difference, relative).
AGREEMENT = 1e-4


def turn(question, answer, system=None):
    messages = [{"role": "system", "content": system}] if system else []
    return messages + [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]


ROWS = [
    turn("What do bees make?", "Bees make honey and wax."),
    turn("Why is the sky blue?", "Air scatters blue light more than red, so blue comes from all sides."),
    turn("Name a tree with cones.", "The pine.", system="Answer in two words."),
    turn("How does a kite stay up?", "Wind pushes on its tilted face, and the line holds it there.")
    + turn("And with no wind?", "It sinks, unless you run."),
    turn("Where do penguins live?", "Most live on cold southern coasts."),
    turn("What is bread made of?", "Flour, water, salt and yeast, mixed, left to rise and baked."),
    turn("How many legs has a spider?", "Eight."),
    turn("When do owls hunt?", "Mostly at night, when mice are out and other birds are asleep."),
]
KL_ROWS = [
    turn("How do I tie a bow?", "Make two loops, cross them, and pull one through."),
    turn("What is a verb?", "A word for doing or being."),
    turn("Which is longer, a mile or a kilometre?", "A mile, by about six tenths of a kilometre."),
    turn("Who mends shoes?", "A cobbler.", system="Be brief."),
    turn("Why do we sleep?", "So that body and mind can rest and repair."),
    turn("What floats on water?", "Wood, ice, oil and most boats."),
]


def linear_rate(peak, step):
    return peak * min((step + 1) / WARMUP, (STEPS - step) / (STEPS - WARMUP))


def cosine_rate(peak, step):
    progress = max(0, step - WARMUP) / (STEPS - WARMUP)
    return peak * min((step + 1) / WARMUP, 0.5 * (1 + math.cos(math.pi * progress)))


SCHEDULES = {
    "steps": STEPS,
    "warmup": WARMUP,
    "t": "the step, counted from 0; the rate of step t is used for the update of step t",
    "linear": "lr_t = lr * min((t + 1) / warmup, (steps - t) / (steps - warmup))",
    "cosine": "lr_t = lr * min((t + 1) / warmup, 0.5 * (1 + cos(pi * p))) with p = "
    "max(0, t - warmup) / (steps - warmup); in words: the same warm-up as linear, and where linear falls to 1 - p "
    "of the peak, cosine falls to half of 1 + cos(pi * p); t = warmup has the full rate, t = steps would have none",
}


def write_rows(path, rows):
    """Chat rows as JSON lines."""
    lines = (json.dumps({"messages": messages}, ensure_ascii=False) + "\n" for messages in rows)
    path.write_text("".join(lines), encoding="utf-8")


def write_adapters(model, out, name, spec, generator):
    """A PEFT folder with random A and B = 0."""
    tensors = {}
    for layer in spec["layers"]:
        for part, projections in PROJECTIONS.items():
            for projection in (p for p in projections if p in spec["projections"]):
                path = f"model.layers.{layer}.{part}.{projection}"
                linear, rank = model.get_submodule(path), spec["rank"]
                a = torch.randn(rank, linear.in_features, generator=generator) / math.sqrt(linear.in_features)
                tensors[f"base_model.model.{path}.lora_A.weight"] = a
                tensors[f"base_model.model.{path}.lora_B.weight"] = torch.zeros(linear.out_features, rank)
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": "llama",
        "r": spec["rank"],
        "lora_alpha": spec["alpha"],
        "use_rslora": True,
        "lora_dropout": 0.0,
        "bias": "none",
        "target_modules": spec["projections"],
        "layers_to_transform": spec["layers"],
        "layers_pattern": "layers",
    }
    (out / name).mkdir(exist_ok=True)
    write_json(out / name / "adapter_config.json", config)
    save_file(tensors, out / name / "adapter_model.safetensors", metadata={"format": "pt"})


def order(rows):
    """Row numbers of every micro-batch of every step: shuffled rows, over and over."""
    shuffler, numbers = random.Random(ORDER_SEED), []
    per_step = ROWS_PER_BATCH * BATCHES_PER_STEP
    while len(numbers) < STEPS * per_step:
        numbers += shuffler.sample(range(rows), rows)
    starts = [range(step * per_step, (step + 1) * per_step, ROWS_PER_BATCH) for step in range(STEPS)]
    return [[numbers[start : start + ROWS_PER_BATCH] for start in step] for step in starts]


class Steering:
    """A steering vector, zero at first."""

    def __init__(self, model, _out):
        self.model = model
        self.vector = torch.zeros(model.config.hidden_size, dtype=model.dtype, requires_grad=True)
        self.edit = {"kind": "steering", "layer": STEERING_LAYER}
        self.peak = STEERING_PEAK

    def parameters(self):
        return {"steering": self.vector}

    def applied(self):
        return steering(self.model, STEERING_LAYER, self.vector)


class Adapters:
    """The adapters of a PEFT folder, put on by PEFT itself."""

    def __init__(self, model, folder):
        self.model = PeftModel.from_pretrained(model, folder, is_trainable=True).to(model.dtype)
        spec = ADAPTERS[folder.name]
        scale = {"rank": spec["rank"], "alpha": spec["alpha"], "rslora": True}
        self.edit = {"kind": "lora", "folder": folder.name} | scale
        self.peak = spec["peak"]
        self.check_start(folder)

    def check_start(self, folder):
        """That PEFT took every tensor of the folder, and no other is trained."""
        found, written = self.parameters(), load_file(folder / "adapter_model.safetensors")
        if sorted(found) != sorted(written) or any((found[name] != written[name]).any() for name in written):
            raise ValueError(f"{folder}: PEFT trains other tensors than the file's")

    def parameters(self):
        trained = ((name, p) for name, p in self.model.named_parameters() if p.requires_grad)
        return {name.replace(".default.", "."): p for name, p in trained}

    def applied(self):
        return contextlib.nullcontext()


class Full:
    """Every weight, tied ones once; as transformers has it, norms do not decay."""

    def __init__(self, model, _out):
        self.model = model.requires_grad_(True)
        self.edit = {"kind": "full"}
        self.peak = FULL_PEAK

    def parameters(self):
        return dict(self.model.named_parameters())

    def applied(self):
        return contextlib.nullcontext()


def groups(parameters):
    """What decays and what does not: of a vector of its own everything, of a model all but norms and biases."""
    alone = len(parameters) == 1
    plain = [p for p in parameters if p.dim() == 1 and not alone]
    return [{"params": [p for p in parameters if p.dim() > 1 or alone]}, {"params": plain, "weight_decay": 0.0}]


def prepare(folder, edit_kind, edit_folder, dtype):
    """The base, and the subject that is trained, in `dtype`."""
    return load_model(folder).to(dtype), edit_kind(load_model(folder).to(dtype), edit_folder)


def train(base, subject, rows, kl_rows, kl_weight):
    """Takes the steps; returns the figures of each step before its update, and the tensors after the last."""
    parameters = list(subject.parameters().values())
    optimiser = torch.optim.AdamW(groups(parameters), lr=subject.peak, **OPTIMISER, foreach=False)

    def logits(model, ids):
        return model(torch.tensor([ids])).logits[0]

    def edited_logits(ids):
        with subject.applied():
            return logits(subject.model, ids)

    def response_loss_sum(row):
        predicted = edited_logits(row["ids"])
        spans = [(predicted[start - 1 : end - 1], row["ids"][start:end]) for start, end in row["responses"]]
        return sum(F.cross_entropy(p, torch.tensor(ids), reduction="sum") for p, ids in spans)

    def kl_sum(row):
        with torch.no_grad():
            reference = logits(base, row["ids"])
        return kl_per_token(reference, edited_logits(row["ids"])).sum()

    steps = []
    for step, (batches, kl_batches) in enumerate(zip(order(len(rows)), order(len(kl_rows)))):
        response_tokens = sum(end - start for batch in batches for i in batch for start, end in rows[i]["responses"])
        kl_tokens = sum(len(kl_rows[i]["ids"]) for batch in kl_batches for i in batch)
        optimiser.zero_grad()
        response_loss = kl = 0.0
        for batch, kl_batch in zip(batches, kl_batches):
            batch_loss = sum(response_loss_sum(rows[i]) for i in batch) / response_tokens
            with torch.set_grad_enabled(kl_weight > 0):
                batch_kl = sum(kl_sum(kl_rows[i]) for i in kl_batch) / kl_tokens
            (batch_loss + kl_weight * batch_kl).backward()
            response_loss += batch_loss.item()
            kl += batch_kl.item()
        rate = linear_rate(subject.peak, step)
        for group in optimiser.param_groups:
            group["lr"] = rate
        grad_norm = torch.nn.utils.clip_grad_norm_(parameters, CLIP_NORM, foreach=False).item()
        optimiser.step()
        steps.append(
            {
                "step": step,
                "lr": rate,
                "response_tokens": response_tokens,
                "kl_tokens": kl_tokens,
                "loss": response_loss + kl_weight * kl,
                "response_loss": response_loss,
                "kl": kl,
                "grad_norm": grad_norm,
            }
        )
    return steps, {name: p.detach() for name, p in subject.parameters().items()}


def agree(name, single, double):
    """Prints how far float32 and float64 lie apart, and refuses what lies too far."""
    worst = {}
    for field in ("loss", "response_loss", "kl", "grad_norm"):
        worst[field] = disagreement([s[field] for s in single[0]], [s[field] for s in double[0]])
    worst["final"] = max(disagreement(single[1][key], double[1][key]) for key in single[1])
    losses, norms = [round(s["loss"], 3) for s in single[0]], [round(s["grad_norm"], 2) for s in single[0]]
    print(f"{name}: losses {losses}, gradient norms {norms}")
    print("  float32 to float64: " + ", ".join(f"{field} {value:.1e}" for field, value in worst.items()))
    if max(worst.values()) > AGREEMENT:
        raise ValueError(f"{name}: float32 and float64 disagree")


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    make_deterministic()
    folder, out = Path(sys.argv[1]), Path(sys.argv[2])
    out.mkdir(parents=True, exist_ok=True)
    write_rows(out / "rows.jsonl", ROWS)
    write_rows(out / "kl.jsonl", KL_ROWS)
    model, tokenizer = load_model(folder), load_tokenizer(folder)
    generator = torch.Generator().manual_seed(ADAPTER_SEED)
    for name, spec in ADAPTERS.items():
        write_adapters(model, out, name, spec, generator)

    def encoded(rows):
        chats = (encode_chat(tokenizer, messages) for messages in rows)
        return [{"ids": ids, "responses": responses} for _, ids, responses in chats]

    rows, kl_rows, runs, full_runs = encoded(ROWS), encoded(KL_ROWS), [], []
    for name, kind in {"steering": Steering, "rank1": Adapters, "rank4": Adapters, "full": Full}.items():
        for kl_weight in KL_WEIGHTS:
            label, results = f"{name}, KL weight {kl_weight}", []
            for dtype in (torch.float32, torch.float64):
                base, subject = prepare(folder, kind, out / name, dtype)
                with precision(dtype):
                    results.append(train(base, subject, rows, kl_rows, kl_weight))
            agree(label, *results)
            steps, final = results[0]
            setting = {"name": label, "edit": subject.edit, "kl_weight": kl_weight, "lr": subject.peak}
            if kind is Full:
                first = {name: tensor.flatten()[:SHOWN] for name, tensor in final.items()}
                full_runs.append(setting | {"steps": steps, "final": first})
            else:
                runs.append(setting | {"steps": steps, "final": final})
    write_json(
        out / "golden_full.json",
        {"reads": f"as golden_train.json; final: the first {SHOWN} numbers of each weight", "runs": full_runs},
    )
    write_json(
        out / "golden_train.json",
        {
            "objective": "response loss (mean nats per response token, over all response tokens of the step) + "
            "kl_weight * KL(base || edited) (mean nats per token, over all tokens of the step's KL rows)",
            "figures": "loss, response_loss, kl and grad_norm of a step are those before its update; grad_norm is "
            "the global norm before clipping; kl is measured, not trained, where kl_weight is 0; "
            "final: after the last update",
            "optimiser": {"name": "AdamW, decoupled weight decay", **OPTIMISER},
            "clipping": {"norm": CLIP_NORM, "rule": f"gradients * min(1, norm / (grad_norm + {CLIP_EPS}))"},
            "schedule": SCHEDULES,
            "cosine_rates": {"lr": COSINE_PEAK, "rates": [cosine_rate(COSINE_PEAK, step) for step in range(STEPS)]},
            "rows": rows,
            "kl_rows": kl_rows,
            "order": order(len(ROWS)),
            "kl_order": order(len(KL_ROWS)),
            "order_reads": "order[step][micro-batch] are numbers of rows, counted from 0",
            "runs": runs,
        },
    )


if __name__ == "__main__":
    main()
