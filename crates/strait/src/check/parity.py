"""Logits of a model by PyTorch and transformers, for `strait check` to hold its own against.

usage: parity.py MODEL < prompts
MODEL is a Hugging Face folder or a GGUF file. Standard input is one object {"prompts": [[id, ...], ...]}, or one object
{"ids": [id, ...]} a line. Standard output is one object: versions, and for each prompt the logits at its last position
and the argmax at every position (float32, eager attention). Where something fails it is {"error": "..."}; the exit code
is then 3 if a Python package is missing and 1 otherwise.
"""

import contextlib
import json
import os
import sys

FAILED, PACKAGE_MISSING = 1, 3


def read_prompts(text):
    """The prompts of standard input, each a list of token ids."""
    try:
        objects = [json.loads(text)]
    except json.JSONDecodeError:
        objects = [json.loads(line) for line in text.splitlines() if line.strip()]
    prompts = []
    for found in objects:
        if not isinstance(found, dict) or ("prompts" in found) == ("ids" in found):
            raise ValueError("standard input must hold objects with either `prompts` or `ids`")
        prompts += found["prompts"] if "prompts" in found else [found["ids"]]
    if not prompts:
        raise ValueError("standard input holds no prompt")
    for number, ids in enumerate(prompts):
        if not isinstance(ids, list) or not ids or any(type(x) is not int for x in ids):
            raise ValueError(f"prompt {number} must be a list of at least one token id")
    return prompts


def load(path):
    """The model in float32, read from the disk only."""
    import torch
    import transformers

    if os.path.isdir(path):
        place = {"pretrained_model_name_or_path": path}
    elif os.path.isfile(path):
        folder, file = os.path.split(os.path.abspath(path))
        place = {"pretrained_model_name_or_path": folder, "gguf_file": file}
    else:
        raise FileNotFoundError(f"`{path}` is neither a folder nor a file")
    version = tuple(int(part) for part in transformers.__version__.split(".")[:2])
    check_rope(path, version[0])
    dtype = "dtype" if version >= (4, 56) else "torch_dtype"
    model = transformers.AutoModelForCausalLM.from_pretrained(
        **place, **{dtype: torch.float32}, attn_implementation="eager", local_files_only=True
    )
    return model.eval()


def check_rope(path, major):
    """Refuses a config whose rotary embeddings this transformers would misread: before 5 it knows no `rope_parameters`."""
    config = os.path.join(path, "config.json")
    if major >= 5 or not os.path.isfile(config):
        return
    with open(config, encoding="utf-8") as file:
        config = json.load(file)
    config = config.get("text_config") or config
    parameters = config.get("rope_parameters")
    if not parameters:
        return
    read = parameters.get("rope_type", "default") == "default" and "rope_theta" in parameters
    if not read or parameters["rope_theta"] != config.get("rope_theta") or config.get("rope_scaling"):
        raise ValueError("this transformers does not read `rope_parameters`, which 5 and later do")


def measure(model, ids):
    """Logits at the last position of one prompt and the argmax at every position."""
    import torch

    if not 0 <= min(ids) <= max(ids) < model.get_input_embeddings().num_embeddings:
        raise ValueError("a token id lies outside the vocabulary")
    with torch.inference_mode():
        logits = model(torch.tensor([ids]), use_cache=False).logits[0]
    if not torch.isfinite(logits).all():
        raise ValueError("the logits are not finite")
    return {"last_logits": logits[-1].tolist(), "argmax": logits.argmax(-1).tolist()}


def compare(path, text):
    """The object to print."""
    prompts = read_prompts(text)
    model = load(path)
    import torch
    import transformers

    results = [measure(model, ids) for ids in prompts]
    return {"torch": torch.__version__, "transformers": transformers.__version__, "results": results}


def main():
    os.environ["HF_HUB_OFFLINE"] = "1"
    code = 0
    # Libraries may print; only the one object belongs on standard output.
    with contextlib.redirect_stdout(sys.stderr):
        try:
            if len(sys.argv) != 2:
                raise ValueError("usage: parity.py MODEL < prompts")
            answer = compare(sys.argv[1], sys.stdin.read())
        except ImportError as error:
            answer, code = {"error": str(error)}, PACKAGE_MISSING
        except Exception as error:  # whatever it is, the caller reads it from the object
            answer, code = {"error": f"{type(error).__name__}: {error}"}, FAILED
    print(json.dumps(answer))
    return code


if __name__ == "__main__":
    sys.exit(main())
