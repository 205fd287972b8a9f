"""Tiny random checkpoints of every architecture as Hugging Face folders, each with golden values beside it.

usage: tiny.py OUT_DIR
"""

import json
import math
import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    Gemma2Config,
    Gemma2ForCausalLM,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    GenerationConfig,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

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

# How far values in float32 may lie from the same values in float64 (norm of the difference, relative).
AGREEMENT = 1e-5
# The least lead, in logits, of an argmax over the next token: below it, another order of summation could turn it.
CLEAR_LEAD = 1e-4
# A seed at which every folder has that lead.
SEED = 3

START, END, BEGIN = "<|im_start|>", "<|im_end|>", "<|begin|>"
TOKENIZER_VOCABULARY = 304
CHATML = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
CORPUS = [
    "system user assistant",
    "The baker puts the bread on the shelf before the sun is up.",
    "A small boat crosses the lake, and the water is still.",
    "What is the name of the bird that sings in the morning?",
    "You answer in one short sentence.",
    "The train leaves the station at nine and arrives at noon.",
    "There are seven apples in the basket and three on the table.",
    "Why does the kettle whistle when the water boils?",
    "The other children are reading their books in the garden.",
]

TURN_WITH_SYSTEM = [
    {"role": "system", "content": "You answer in one short sentence."},
    {"role": "user", "content": "Why does the kettle whistle?"},
    {"role": "assistant", "content": "Steam is pressed through a small hole, and the air in it sings."},
]
TWO_TURNS = [
    {"role": "user", "content": "Which bird sings first?"},
    {"role": "assistant", "content": "The robin, often before dawn."},
    {"role": "user", "content": "And at the café, 7.30?\n\nTwo lines 🙂"},
    {"role": "assistant", "content": "By then it’s the sparrows' turn."},
]
TEXT = (
    "The river rose in the night, and by morning the lower fields were under water. "
    "The farmer moved the sheep to the hill and waited for the rain to end."
)


def tokenizer(with_begin):
    """A byte-level BPE tokenizer with ChatML; `with_begin`: plain text starts with a token of its own, as in Gemma."""
    specials = [START, END] + [BEGIN] * with_begin
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=TOKENIZER_VOCABULARY,
        special_tokens=specials,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(CORPUS, trainer)
    if with_begin:
        bpe.post_processor = processors.TemplateProcessing(
            single=f"{BEGIN} $A", special_tokens=[(BEGIN, bpe.token_to_id(BEGIN))]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        eos_token=END,
        bos_token=BEGIN if with_begin else None,
        additional_special_tokens=[START],
        chat_template=CHATML,
        clean_up_tokenization_spaces=False,
    )


# Per folder: the model, whether plain text starts with `BEGIN`, and what is special about its files. Sizes that are no
# multiple of a vector width and an epsilon of a hundredth show mistakes that round sizes and 1e-6 would hide.
COMMON = {"vocab_size": TOKENIZER_VOCABULARY, "eos_token_id": 1, "bos_token_id": None, "pad_token_id": None}
FOLDERS = {
    "llama": {
        "model": lambda: LlamaForCausalLM(
            LlamaConfig(
                **COMMON,
                hidden_size=32,
                intermediate_size=88,
                num_hidden_layers=4,
                num_attention_heads=4,
                num_key_value_heads=2,
                rms_norm_eps=1e-2,
                rope_theta=10000.0,
                max_position_embeddings=512,
                tie_word_embeddings=False,
            )
        ),
    },
    # Head size 16: wavelengths of 6.3 (kept), 19.9 (between) and 62.8 up (scaled); the rule's bounds are 8 and 32.
    "llama3": {
        "shards": 3,
        "begin": True,
        "model": lambda: LlamaForCausalLM(
            LlamaConfig(
                **COMMON | {"bos_token_id": 2},
                hidden_size=48,
                intermediate_size=104,
                num_hidden_layers=4,
                num_attention_heads=4,
                num_key_value_heads=1,
                head_dim=16,
                rms_norm_eps=1e-2,
                rope_theta=10000.0,
                rope_scaling={
                    "rope_type": "llama3",
                    "factor": 8.0,
                    "low_freq_factor": 1.0,
                    "high_freq_factor": 4.0,
                    "original_max_position_embeddings": 32,
                },
                max_position_embeddings=256,
                tie_word_embeddings=True,
            )
        ),
    },
    # Embeddings for more ids than the tokenizer has, as in the published Qwen2 checkpoints.
    "qwen2": {
        "dtype": torch.float16,
        "model": lambda: Qwen2ForCausalLM(
            Qwen2Config(
                **COMMON | {"vocab_size": 320},
                hidden_size=40,
                intermediate_size=72,
                num_hidden_layers=4,
                num_attention_heads=4,
                num_key_value_heads=2,
                rms_norm_eps=1e-6,
                rope_theta=1000000.0,
                max_position_embeddings=512,
                use_sliding_window=False,
                tie_word_embeddings=True,
            )
        ),
    },
    "qwen3": {
        "dtype": torch.bfloat16,
        "model": lambda: Qwen3ForCausalLM(
            Qwen3Config(
                **COMMON,
                hidden_size=32,
                intermediate_size=72,
                num_hidden_layers=4,
                num_attention_heads=4,
                num_key_value_heads=2,
                head_dim=12,
                rms_norm_eps=1e-2,
                rope_theta=1000000.0,
                max_position_embeddings=512,
                use_sliding_window=False,
                tie_word_embeddings=False,
            )
        ),
    },
    # `layer_types` is left out of config.json, as in the published Gemma 2 checkpoints: even blocks have the window.
    "gemma2": {
        "begin": True,
        "omit": ["layer_types"],
        "model": lambda: Gemma2ForCausalLM(
            Gemma2Config(
                **COMMON | {"bos_token_id": 2},
                hidden_size=36,
                intermediate_size=80,
                num_hidden_layers=4,
                num_attention_heads=4,
                num_key_value_heads=2,
                head_dim=16,
                query_pre_attn_scalar=40,
                attn_logit_softcapping=2.5,
                final_logit_softcapping=4.0,
                sliding_window=8,
                rms_norm_eps=1e-2,
                rope_theta=10000.0,
                max_position_embeddings=512,
            )
        ),
    },
    # Seven blocks of which the third and the sixth see everything, with rotary angles of their own base and scaling.
    "gemma3": {
        "begin": True,
        "model": lambda: Gemma3ForCausalLM(
            Gemma3TextConfig(
                **COMMON | {"bos_token_id": 2},
                hidden_size=32,
                intermediate_size=56,
                num_hidden_layers=7,
                num_attention_heads=4,
                num_key_value_heads=1,
                head_dim=12,
                query_pre_attn_scalar=20,
                sliding_window=8,
                sliding_window_pattern=3,
                rope_theta=1000000.0,
                rope_local_base_freq=10000.0,
                rope_scaling={"rope_type": "linear", "factor": 2.0},
                rms_norm_eps=1e-2,
                max_position_embeddings=512,
            )
        ),
    },
}


@torch.no_grad()
def randomise(model):
    """Weights at which every part matters: norms away from one, biases from zero, attention and logits not flat."""
    generator = torch.Generator().manual_seed(SEED)
    gemma = model.config.model_type.startswith("gemma")
    for name, weight in model.named_parameters():
        noise = torch.randn(weight.shape, generator=generator)
        if name.endswith("norm.weight"):
            weight.copy_(0.3 * noise + (0.0 if gemma else 1.0))
        elif name.endswith("bias"):
            weight.copy_(0.5 * noise)
        elif "embed_tokens" in name or "lm_head" in name:
            weight.copy_(0.4 * noise)
        elif name.endswith(("q_proj.weight", "k_proj.weight")):
            weight.copy_(1.4 * noise / math.sqrt(weight.shape[1]))
        else:
            weight.copy_(noise / math.sqrt(weight.shape[1]))


def save(folder, spec):
    """Writes config, weights and tokenizer as the published checkpoints have them."""
    model = spec["model"]()
    randomise(model)
    model.to(spec.get("dtype", torch.float32))
    model.generation_config = GenerationConfig(eos_token_id=1, bos_token_id=model.config.bos_token_id)
    shards = spec.get("shards", 1)
    size = sum(p.numel() * p.element_size() for p in model.parameters())
    model.save_pretrained(folder, max_shard_size=math.ceil(1.1 * size / shards))
    found = len(list(folder.glob("*.safetensors")))
    if found != shards:
        raise ValueError(f"{folder.name}: {found} weight files, {shards} wanted")
    config = json.loads((folder / "config.json").read_text())
    write_json(folder / "config.json", {key: config[key] for key in config if key not in spec.get("omit", [])})
    tokenizer(spec.get("begin", False)).save_pretrained(folder, save_jinja_files=False)


def cases(tok):
    """Two chats and a plain text: ids, where the last response begins, and every response's span."""
    for messages in (TURN_WITH_SYSTEM, TWO_TURNS):
        rendered, ids, responses = encode_chat(tok, messages)
        yield {
            "messages": messages,
            "rendered": rendered,
            "prompt_tokens": responses[-1][0],
            "responses": responses,
            "ids": ids,
        }
    ids = tok(TEXT).input_ids
    yield {"text": TEXT, "prompt_tokens": 1, "responses": [[1, len(ids)]], "ids": ids}


def measure(model, case, layer):
    """The golden values of one case, in the precision of the model."""
    ids = torch.tensor([case["ids"]])
    dtype = next(model.parameters()).dtype
    down = model.model.layers[layer].mlp.down_proj
    a = (torch.linspace(-1, 1, down.in_features, dtype=torch.float32) / math.sqrt(down.in_features)).to(dtype)
    b = torch.zeros(model.config.hidden_size, dtype=dtype, requires_grad=True)
    v = torch.zeros(model.config.hidden_size, dtype=dtype, requires_grad=True)

    def loss_of(logits, spans):
        predicted = torch.cat([logits[start - 1 : end - 1] for start, end in spans])
        return F.cross_entropy(predicted, torch.cat([ids[0, start:end] for start, end in spans]))

    last_response = [[case["prompt_tokens"], len(case["ids"])]]
    rank1 = down.register_forward_hook(lambda _m, inputs, out: out + (inputs[0] @ a)[..., None] * b)
    with steering(model, layer, v):
        out = model(ids, output_hidden_states=True)
    rank1.remove()
    grad_v, grad_b = torch.autograd.grad(loss_of(out.logits[0], last_response), [v, b])
    logits, residual = out.logits[0].detach(), [x[0].detach() for x in out.hidden_states]
    with torch.no_grad():
        added = 0.1 * grad_v / grad_v.norm() * residual[layer + 1].norm(dim=-1).mean()
        with steering(model, layer, added):
            steered = model(ids).logits[0]
    return {
        "last_logits_first64": logits[-1, :64],
        "last_logits_norm": float(logits[-1].norm()),
        "last_argmax": int(logits[-1].argmax()),
        "argmax_per_token": logits.argmax(-1),
        "residual_norm_per_layer": [float(x[-1].norm()) for x in residual],
        "residual_mid_last_first16": residual[layer + 1][-1, :16],
        "response_loss": float(loss_of(logits, last_response)),
        "responses_loss": float(loss_of(logits, case["responses"])),
        "grad_steering": grad_v,
        "grad_rank1_b": grad_b,
        "steering_added": added,
        "kl_base_steered_per_token": kl_per_token(logits, steered),
        "steered_response_loss": float(loss_of(steered, last_response)),
    }, logits


def measure_folder(folder):
    """Golden values of a written folder, after the same values in float64 have agreed with them."""
    tok, model, doubled = load_tokenizer(folder), load_model(folder), load_model(folder).double()
    layer = model.config.num_hidden_layers // 2
    golden = {
        "model": folder.name,
        "layers": model.config.num_hidden_layers,
        "hidden_size": model.config.hidden_size,
        "vocab_size": model.config.vocab_size,
        "steered_layer": layer,
        "cases": [],
    }
    worst, lead, spread = {}, math.inf, []
    for case in cases(tok):
        values, logits = measure(model, case, layer)
        with precision(torch.float64):
            exact, _ = measure(doubled, case, layer)
        for field, value in values.items():
            worst[field] = max(worst.get(field, 0.0), disagreement(value, exact[field]))
        top = logits.topk(2, dim=-1).values
        lead = min(lead, float((top[:, 0] - top[:, 1]).min()))
        spread.append(float(logits.std(-1).mean()))
        golden["cases"].append(case | values)
    losses = [round(case["response_loss"], 4) for case in golden["cases"]]
    lengths = [len(case["ids"]) for case in golden["cases"]]
    print(f"{folder.name}: tokens {lengths}, losses {losses}, spread of logits {[round(x, 2) for x in spread]}")
    print(f"  float32 to float64: worst {max(worst.values()):.1e} ({max(worst, key=worst.get)}); least lead {lead:.1e}")
    if max(worst.values()) > AGREEMENT or lead < CLEAR_LEAD:
        raise ValueError(f"{folder.name}: not a clear reference: {worst}, least lead {lead}")
    write_json(folder / "golden.json", golden)


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    make_deterministic()
    for name, spec in FOLDERS.items():
        folder = Path(sys.argv[1]) / name
        folder.mkdir(parents=True, exist_ok=True)
        save(folder, spec)
        measure_folder(folder)


if __name__ == "__main__":
    main()
