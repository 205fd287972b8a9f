"""A training step of a mid-layer steering vector by PyTorch and transformers: the yardstick of `cargo bench --bench step`.

usage: step.py MODELS_DIR [STEPS]
MODELS_DIR holds smollm2.gguf. Batch 4 x 128 tokens, float32, 2 threads, every token but the first a response token.
"""

import sys
import time

import torch
import torch.nn.functional as F
from transformers import AutoModelForCausalLM

BATCH, TOKENS, THREADS = 4, 128, 2


def main():
    torch.set_num_threads(THREADS)
    steps = int(sys.argv[2]) if len(sys.argv) > 2 else 7
    model = AutoModelForCausalLM.from_pretrained(
        sys.argv[1], gguf_file="smollm2.gguf", dtype=torch.float32, attn_implementation="sdpa"
    ).eval()
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    vector = torch.nn.Parameter(torch.zeros(model.config.hidden_size))
    middle = model.config.num_hidden_layers // 2
    model.model.layers[middle].register_forward_hook(
        lambda _, __, out: (out[0] + vector,) + tuple(out[1:]) if isinstance(out, tuple) else out + vector
    )
    optimiser = torch.optim.AdamW([vector], lr=1e-3)
    ids = torch.randint(0, model.config.vocab_size, (BATCH, TOKENS), generator=torch.Generator().manual_seed(0))
    seconds = []
    for _ in range(steps + 1):
        start = time.perf_counter()
        logits = model(ids).logits
        loss = F.cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten())
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        seconds.append(time.perf_counter() - start)
    seconds = sorted(seconds[1:])
    print(f"PyTorch {torch.__version__}: median {seconds[len(seconds) // 2]:.3f} s, least {seconds[0]:.3f} s of {steps}")


main()
