"""What the golden scripts share: determinism, float64 checks, the response tokens of a chat, JSON with short lines."""

import contextlib
import json
import re
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

DIGITS = 8


def make_deterministic():
    """One thread and deterministic kernels: the same machine then writes the same bytes every time."""
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)


def load_model(folder):
    """The frozen model of a folder: weights rounded as stored, computed with in float32, eager attention."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
    return model.eval().requires_grad_(False)


def load_tokenizer(folder):
    return AutoTokenizer.from_pretrained(folder)


@contextlib.contextmanager
def precision(dtype):
    """Inside, what transformers computes in float32 by name (norms, softmax, rotary angles) is computed in `dtype`.

    A model cast to float64 is otherwise in float64 only between those places. Files must be read outside.
    """
    single, to_single = torch.float32, torch.Tensor.float
    torch.float32, torch.Tensor.float = dtype, lambda tensor, **options: tensor.to(dtype, **options)
    try:
        yield
    finally:
        torch.float32, torch.Tensor.float = single, to_single


def encode_chat(tokenizer, messages):
    """Rendering, ids and response spans `[start, end)` of a chat, one span per assistant turn.

    A response begins after the generation prompt and ends where the rendering of its turn ends.
    """
    rendered = tokenizer.apply_chat_template(messages, tokenize=False)
    ids = encode(tokenizer, rendered)
    responses = []
    for turn, message in enumerate(messages):
        if message["role"] != "assistant":
            continue
        prompt = tokenizer.apply_chat_template(messages[:turn], tokenize=False, add_generation_prompt=True)
        whole = tokenizer.apply_chat_template(messages[: turn + 1], tokenize=False)
        span = []
        for text in (prompt, whole):
            prefix = encode(tokenizer, text)
            if not rendered.startswith(text) or ids[: len(prefix)] != prefix:
                raise ValueError(f"turn {turn} does not begin and end on a token: {rendered!r}")
            span.append(len(prefix))
        responses.append(span)
    return rendered, ids, responses


def encode(tokenizer, text):
    return tokenizer(text, add_special_tokens=False).input_ids


@contextlib.contextmanager
def steering(model, layer, vector):
    """Adds `vector` to the residual stream after block `layer`, at every position."""

    def add(_module, _inputs, output):
        return (output[0] + vector,) + tuple(output[1:]) if isinstance(output, tuple) else output + vector

    handle = model.model.layers[layer].register_forward_hook(add)
    try:
        yield
    finally:
        handle.remove()


def kl_per_token(base_logits, edited_logits):
    """KL(base || edited) in nats at each position; logits of shape (tokens, vocabulary)."""
    base = torch.log_softmax(base_logits, -1)
    edited = torch.log_softmax(edited_logits, -1)
    return (base.exp() * (base - edited)).sum(-1)


def disagreement(single, double):
    """Norm of the difference of two values (numbers, lists or tensors), relative to the norm of the second."""
    single, double = (torch.as_tensor(x, dtype=torch.float64).detach().flatten() for x in (single, double))
    return float((single - double).norm() / double.norm().clamp_min(1e-300))


def rounded(value):
    """The value with tensors as nested lists and every real number at `DIGITS` significant digits."""
    if isinstance(value, torch.Tensor):
        value = value.detach().tolist()
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}")
    if isinstance(value, (list, tuple)):
        return [rounded(x) for x in value]
    if isinstance(value, dict):
        return {key: rounded(x) for key, x in value.items()}
    return value


def write_json(path, value):
    """Indented JSON in which a list of numbers stays on one line."""
    text = json.dumps(rounded(value), ensure_ascii=False, indent=1, allow_nan=False)
    numbers = re.compile(r"\[\s+(-?\d[-+.\de]*(?:,\s+-?\d[-+.\de]*)*)\s+\]")
    text = numbers.sub(lambda found: "[" + re.sub(r"\s+", " ", found[1]) + "]", text)
    Path(path).write_text(text + "\n", encoding="utf-8")
