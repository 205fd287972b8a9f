"""One step of `strait bench` by PyTorch, transformers and PEFT, in a process of its own. Prints one JSON object.

usage: pytorch.py --model PATH --batch REPORT.json --step NAME [--precision f32|bf16] [--threads N] [--attention sdpa|eager]

PATH is a Hugging Face folder or a GGUF file, REPORT.json what `strait bench --json` printed: its rows are computed here too. As
people write such loops: rows are padded to the longest, logits are made of every token, nothing is kept between steps. In bf16
the weights are bf16, and so is a full fine-tune's AdamW; PEFT keeps its adapters in f32.
"""

import argparse
import json
import os
import resource
import time

os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import torch
import torch.nn.functional as F
from transformers import AutoModelForCausalLM

# As in crates/strait/src/bench/stopwatch.rs: tries after one that warms up.
LEAST, MOST, LONG = 3, 100, 3.0
RANK = 32


def load(path, precision, attention):
    folder, file = (path, None) if os.path.isdir(path) else os.path.split(path)
    dtype = {"f32": torch.float32, "bf16": torch.bfloat16}[precision]
    model = AutoModelForCausalLM.from_pretrained(
        folder, gguf_file=file, dtype=dtype, attn_implementation=attention
    )
    return model.eval()


class Rows:
    """Rows padded to the longest, and where their responses are."""

    def __init__(self, rows):
        longest = max(len(row["ids"]) for row in rows)
        self.ids = torch.zeros(len(rows), longest, dtype=torch.long)
        self.mask = torch.zeros_like(self.ids)
        self.labels = torch.full_like(self.ids, -100)
        for i, row in enumerate(rows):
            length, response = len(row["ids"]), row["response"]
            self.ids[i, :length] = torch.tensor(row["ids"])
            self.mask[i, :length] = 1
            self.labels[i, response:length] = self.ids[i, response:length]

    def logits(self, model):
        return model(input_ids=self.ids, attention_mask=self.mask, use_cache=False).logits

    def loss(self, model):
        out = model(input_ids=self.ids, attention_mask=self.mask, labels=self.labels, use_cache=False)
        return out.loss

    def divergence(self, model, base):
        """Mean KL(base || model) over the tokens, where `base` are the base model's logits."""
        edited = F.log_softmax(self.logits(model).float(), dim=-1)
        base = F.log_softmax(base.float(), dim=-1)
        kl = F.kl_div(edited, base, log_target=True, reduction="none").sum(-1)
        return (kl * self.mask).sum() / self.mask.sum()


class Steering:
    """A vector added after the middle block, while it is on."""

    def __init__(self, model):
        self.on = True
        self.vector = torch.nn.Parameter(torch.zeros(model.config.hidden_size))
        block = model.model.layers[model.config.num_hidden_layers // 2]
        block.register_forward_hook(self.add)

    def add(self, _module, _inputs, output):
        if not self.on:
            return output
        stream = output[0] if isinstance(output, tuple) else output
        stream = stream + self.vector.to(stream.dtype)
        return (stream, *output[1:]) if isinstance(output, tuple) else stream


def frozen(model):
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    return model


def optimised(parameters, loss):
    """A training step: loss, gradient, AdamW."""
    optimiser = torch.optim.AdamW(list(parameters), lr=1e-5, weight_decay=0.0, fused=True)

    def step():
        optimiser.zero_grad()
        loss().backward()
        optimiser.step()

    return step


def without_gradient(work):
    def step():
        with torch.no_grad():
            work()

    return step


def lora(model):
    from peft import LoraConfig, get_peft_model

    projections = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    return get_peft_model(model, LoraConfig(r=RANK, lora_alpha=2 * RANK, target_modules=projections))


def prepared(name, model, batch):
    """The step as a function, and the tokens that it draws."""
    rows, kl_rows = Rows(batch["rows"]), Rows(batch["kl_rows"])
    if name == "score":
        return without_gradient(lambda: rows.loss(model)), None
    if name == "sweep":
        Steering(frozen(model))
        return without_gradient(lambda: rows.loss(model)), None
    if name == "steering":
        steering = Steering(frozen(model))
        return optimised([steering.vector], lambda: rows.loss(model)), None
    if name == "steering-kl":
        steering = Steering(frozen(model))

        def loss():
            steering.on = False
            with torch.no_grad():
                base = kl_rows.logits(model)
            steering.on = True
            return rows.loss(model) + kl_rows.divergence(model, base)

        return optimised([steering.vector], loss), None
    if name == "lora":
        model = lora(model)
        trained = [p for p in model.parameters() if p.requires_grad]
        return optimised(trained, lambda: rows.loss(model)), None
    if name == "full":
        return optimised(model.parameters(), lambda: rows.loss(model)), None
    if name in ("sample", "decode"):
        prompt = torch.tensor([batch["prompt"]])
        count = batch["answers"] if name == "sample" else 1
        tokens = batch["answer_tokens"]
        settings = dict(do_sample=True, temperature=1.0, top_k=0, top_p=1.0, num_return_sequences=count)
        lengths = dict(min_new_tokens=tokens, max_new_tokens=tokens, pad_token_id=0)
        mask = torch.ones_like(prompt)
        return lambda: model.generate(prompt, attention_mask=mask, **settings, **lengths), count * tokens
    raise SystemExit(f"no step is called {name}")


def timed(step):
    seconds, began = [], time.perf_counter()
    for run in range(MOST + 1):
        start = time.perf_counter()
        step()
        if run > 0:
            seconds.append(time.perf_counter() - start)
        if run >= LEAST and time.perf_counter() - began >= LONG:
            break
    return sorted(seconds)


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--model", required=True)
    arguments.add_argument("--batch", required=True)
    arguments.add_argument("--step", required=True)
    arguments.add_argument("--precision", choices=["f32", "bf16"], default="f32")
    arguments.add_argument("--threads", type=int, default=2)
    arguments.add_argument("--attention", choices=["sdpa", "eager"], default="sdpa")
    asked = arguments.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(asked.threads)
    with open(asked.batch) as file:
        batch = json.load(file)["batch"]
    step, tokens = prepared(asked.step, load(asked.model, asked.precision, asked.attention), batch)
    seconds = timed(step)
    middle = 0.5 * (seconds[(len(seconds) - 1) // 2] + seconds[len(seconds) // 2])
    said = {
        "name": asked.step,
        "torch": torch.__version__,
        "seconds": middle,
        "low": seconds[0],
        "high": seconds[-1],
        "runs": len(seconds),
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }
    if tokens:
        said |= {"tokens": tokens, "tokens_per_second": tokens / middle}
    print(json.dumps(said))


main()
