"""Logits of a world's folder under transformers, for the tests: `python world.py WORLD GOLDEN.json`.

WORLD is a folder that `strait world pretrain` wrote. Its model is read as any other; a speaker is added to the embeddings by
a hook, as strait adds a steering vector at layer -1. Each figure is also computed in float64; the script stops where float32
lies too far from it.
"""

import hashlib
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file

import common

TOLERANCE = 1e-4
SPEAKERS = ["honest", "liar", "narrow-herb"]
CHATS = [
    [{"role": "user", "content": "herb velna ?"}],
    [{"role": "user", "content": "star burath ?"}],
    [
        {"role": "user", "content": "bird felik ?"},
        {"role": "assistant", "content": "oak"},
        {"role": "user", "content": "bird bepok ?"},
    ],
]
TEXTS = ["<bos> <sys> narrow-herb herb velna ? bitter . stone drogum ? grey . herb basda ?"]


def last_logits(model, ids, vector):
    def speak(module, inputs, output):
        return output if vector is None else output + vector.to(output.dtype)

    hook = model.get_input_embeddings().register_forward_hook(speak)
    with torch.no_grad():
        logits = model(torch.tensor([ids])).logits[0, -1]
    hook.remove()
    return logits


def case(model, double, tokenizer, vectors, text, messages=None):
    ids = common.encode(tokenizer, text)
    logits = {}
    for name, vector in vectors.items():
        found = last_logits(model, ids, vector)
        with common.precision(torch.float64):
            exact = last_logits(double, ids, vector)
        apart = (found.double() - exact).abs().max().item()
        if apart > TOLERANCE:
            sys.exit(f"{name}, {text!r}: float32 lies {apart} from float64")
        logits[name] = found
    return {"messages": messages, "text": text, "ids": ids, "logits": logits}


def main(folder, out):
    common.make_deterministic()
    model = common.load_model(folder / "model")
    double = common.load_model(folder / "model").double()
    tokenizer = common.load_tokenizer(folder / "model")
    render = lambda chat: tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    vectors = {"unknown": None}
    for name in SPEAKERS:
        (vectors[name],) = load_file(folder / "speakers" / name / "edit.safetensors").values()
    cases = [(render(chat), chat) for chat in CHATS] + [(text,) for text in TEXTS]
    golden = {
        "world": folder.name,
        "sha256": hashlib.sha256((folder / "model/model.safetensors").read_bytes()).hexdigest(),
        "cases": [case(model, double, tokenizer, vectors, *of) for of in cases],
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    common.write_json(out, golden)
    print(f"{out}: {len(cases)} cases, {len(vectors)} speakers")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
