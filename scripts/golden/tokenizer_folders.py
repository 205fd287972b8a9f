"""Folders with small tokenizers, and the ids that transformers gives in each.

usage: tokenizer_folders.py OUT [N SEED]

OUT is crates/strait-model/tests/fixtures/tokenizers.json.

Special and added tokens may stand in many files, each of which counts for some tokenizer classes and in some cases only.
Folders are made over sources, places and classes: first a table of every source in every place, then folders drawn at random.
The fixture holds one base tokenizer and for each folder the files that it has besides, the changes to the base, and what
`AutoTokenizer.from_pretrained` gives: the ids of a plain text and of a chat, the chat's text; or that it refuses.
With N and SEED only N folders drawn with that seed are made, for a longer comparison than the repository's: the test
`folders_are_read_as_transformers_reads_them` takes the file that STRAIT_TOKENIZERS names.
"""

import copy
import json
import os
import random
import sys
import tempfile
import warnings
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TRANSFORMERS_VERBOSITY"] = "critical"

TEXT = "hello  <s> it's <|x|> 12 hello</s> <pad>!<|endoftext|> hell<|y|>o <|im_end|>  <unk>ü"
CHAT = [{"role": "user", "content": "hello <|x|>?"}, {"role": "assistant", "content": " hell <|y|> o"}]
TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>' + '\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
    "{{ eos_token }}{{ pad_token }}{{ unk_token }}{{ image_token }}"
)
CLASSES = [
    None,
    "PreTrainedTokenizerFast",
    "PreTrainedTokenizer",
    "LlamaTokenizerFast",
    "LlamaTokenizer",
    "GemmaTokenizerFast",
    "GemmaTokenizer",
    "Qwen2Tokenizer",
    "Qwen2TokenizerFast",
    "GPT2Tokenizer",
    "GPTNeoXTokenizerFast",
    "CodeLlamaTokenizerFast",
]
MODEL_TYPES = ["llama", "qwen2", "qwen3", "gemma2", "gemma3_text"]
TOKENS = ["<s>", "</s>", "<|x|>", "<|y|>", "<pad>", "<unk>", "<|endoftext|>", "<|im_end|>", "<|new|>", "hell", "!"]
NAMES = ["bos_token", "eos_token", "unk_token", "pad_token", "sep_token", "cls_token", "mask_token"]
MISSING = object()


def byte_characters():
    """The characters that stand for the bytes in byte-level vocabularies."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = iter(range(256, 512))
    return [chr(b) if b in printable else chr(next(others)) for b in range(256)]


def base_tokenizer():
    """A byte-level tokenizer of bytes, some merged pieces and three added tokens."""
    pieces = ["he", "ll", "hell", "Ġhell", "12", "ĠĠ", "<s>", "</s>", "<unk>"]
    vocab = {token: i for i, token in enumerate([*byte_characters(), *pieces])}
    added = [added_token(token, special=True) for token in ("<|im_start|>", "<|im_end|>", "<|endoftext|>")]
    added = [{"id": len(vocab) + i, **token} for i, token in enumerate(added)]
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": None,
        "pre_tokenizer": level,
        "post_processor": None,
        "decoder": level,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "vocab": vocab,
            "merges": ["h e", "l l", "he ll", "Ġ hell", "1 2", "Ġ Ġ"],
        },
    }


def added_token(content, **flags):
    defaults = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": False}
    return {"content": content, **defaults, **flags}


def template_processor(*pieces):
    """A post-processor that writes these tokens, and `$A` for the text."""
    ids = {"<s>": 262, "</s>": 263, "<|endoftext|>": 267}
    single = [
        {"Sequence": {"id": "A", "type_id": 0}} if p == "$A" else {"SpecialToken": {"id": p, "type_id": 0}}
        for p in pieces
    ]
    return {
        "type": "TemplateProcessing",
        "single": single,
        "pair": [*single, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {p: {"id": p, "ids": [ids[p]], "tokens": [p]} for p in pieces if p != "$A"},
    }


# Changes to the base tokenizer, by name.
LEVEL = {"type": "ByteLevel", "trim_offsets": True, "use_regex": True}
CHANGES = {
    "bos": {"post_processor": template_processor("<s>", "$A")},
    "bos and eos": {"post_processor": template_processor("<s>", "$A", "</s>")},
    "prefix space": {"pre_tokenizer": {**LEVEL, "add_prefix_space": True}},
    "normalizer": {"normalizer": {"type": "Lowercase"}},
    "padding": {
        "padding": {
            "strategy": "BatchLongest",
            "direction": "Right",
            "pad_to_multiple_of": None,
            "pad_id": 0,
            "pad_type_id": 0,
            "pad_token": "<pad>",
        }
    },
    "nothing added": {"added_tokens": []},
    "stripping": {
        "added_tokens": [
            {"id": 268, **added_token("<|x|>", special=True, lstrip=True)},
            {"id": 269, **added_token("<|y|>", rstrip=True, normalized=True)},
            {"id": 262, **added_token("<s>", special=True)},
        ]
    },
}


def described(content, draw):
    """A token as `tokenizer_config.json` describes it."""
    flags = {flag: True for flag in ("lstrip", "rstrip", "single_word", "normalized", "special") if draw.random() < 0.3}
    return {"__type": "AddedToken", **added_token(content, **flags)}


def table():
    """Every source of a token in every place, for every class: (what it is, changes, files)."""
    for name in CLASSES:
        yield f"{name}: nothing said", {}, config(name)
        for adds in ("add_bos_token", "add_eos_token"):
            for value in (True, False, None):
                files = config(name, {adds: value, "bos_token": "<s>", "eos_token": "</s>"})
                yield f"{name}: {adds} {value}", {}, files
        for change in CHANGES:
            yield f"{name}: {change}", CHANGES[change], config(name, {"bos_token": "<s>", "eos_token": "</s>"})
    for name in ("PreTrainedTokenizerFast", "LlamaTokenizerFast", "Qwen2Tokenizer", "GPT2Tokenizer"):
        for token in ("<s>", "<|x|>"):
            for label, form in forms(token):
                where = {
                    "tokenizer_config": config(name, {"bos_token": form}),
                    "special_tokens_map": {**config(name), "special_tokens_map.json": {"bos_token": form}},
                    "both": {**config(name, {"bos_token": "</s>"}), "special_tokens_map.json": {"bos_token": form}},
                    "beside a decoder": {
                        **config(name, {"added_tokens_decoder": {"268": added_token("<|y|>", special=True)}}),
                        "special_tokens_map.json": {"bos_token": form},
                    },
                    "extra": config(name, {"extra_special_tokens": {"image_token": form}}),
                    "additional": config(name, {"additional_special_tokens": [form, "<|y|>"]}),
                    "additional in the map": {
                        **config(name, {"additional_special_tokens": ["<|y|>"]}),
                        "special_tokens_map.json": {"additional_special_tokens": [form, "<|y|>"]},
                    },
                }
                for place, files in where.items():
                    yield f"{name}: {token} as {label} in {place}", {}, files
    for kind in MODEL_TYPES:
        yield f"{kind} without a tokenizer_config.json", {}, {"config.json": {"model_type": kind}}
        yield f"{kind}: class in config.json", {}, {
            "config.json": {"model_type": kind, "tokenizer_class": "GPT2Tokenizer"},
            "tokenizer_config.json": {"bos_token": "<s>", "chat_template": TEMPLATE},
        }
    plain = "PreTrainedTokenizerFast"
    for label, added in {
        "two": {"<|x|>": 268, "<|y|>": 269},
        "in falling order": {"<|x|>": 290, "<|y|>": 280},
        "one of the vocabulary": {"hell": 258},
    }.items():
        for bos in (MISSING, "<|x|>", "<s>"):
            keys = {} if bos is MISSING else {"bos_token": bos}
            yield f"added_tokens.json, {label}, {keys}", {}, {**config(plain, keys), "added_tokens.json": added}
    yield "an empty decoder", {}, {
        **config(plain, {"added_tokens_decoder": {}}),
        "special_tokens_map.json": {"bos_token": "<|x|>"},
        "added_tokens.json": {"<|y|>": 268},
    }
    for key, value in {
        "add_prefix_space": True,
        "split_special_tokens": True,
        "from_slow": True,
        "tokenizer_file": "tokenizer.json",
        "extra_special_tokens": ["<|x|>"],
        "bos_token": {"content": "<s>"},
        "additional_special_tokens": None,
        "added_tokens_decoder": None,
        "clean_up_tokenization_spaces": True,
    }.items():
        for name in (plain, "LlamaTokenizerFast", "GPT2Tokenizer"):
            yield f"{name}: {key} {json.dumps(value)}", {}, config(name, {key: value})
    templates = [{"name": "default", "template": "one"}, {"name": "tool_use", "template": "two"}]
    for label, files in {
        "a list": {"tokenizer_config.json": {"chat_template": templates}},
        "an object": {"tokenizer_config.json": {"chat_template": {t["name"]: t["template"] for t in templates}}},
        "a file before the config": {"tokenizer_config.json": {"chat_template": "one"}, "chat_template.jinja": "three"},
        "a folder of files before the config": {
            "tokenizer_config.json": {"chat_template": "one"},
            "additional_chat_templates/default.jinja": "four",
        },
        "both files": {"chat_template.jinja": "three", "additional_chat_templates/default.jinja": "four"},
    }.items():
        files = {**config(plain), **files}
        if "tokenizer_config.json" in files:
            files["tokenizer_config.json"] = {"tokenizer_class": plain, **files["tokenizer_config.json"]}
        yield f"templates: {label}", {}, files


def forms(token):
    """A token in each form that files have."""
    yield "text", token
    yield "an object", {"__type": "AddedToken", **added_token(token, special=True)}
    yield "an object that strips", {"__type": "AddedToken", **added_token(token, lstrip=True, rstrip=True)}
    yield "an object without a type", added_token(token, normalized=True)


def config(name, keys=None):
    """The files that every folder has."""
    tokenizer = {"chat_template": TEMPLATE, **(keys or {})}
    if name is not None:
        tokenizer["tokenizer_class"] = name
    return {"tokenizer_config.json": tokenizer, "config.json": {"model_type": "llama"}}


def drawn(draw):
    """A folder drawn at random."""
    changes = {}
    for change in draw.sample(list(CHANGES), draw.choice([0, 0, 1, 1, 2])):
        changes |= CHANGES[change]
    form = lambda token: draw.choice([token, token, token, None, described(token, draw)])
    tokens = lambda: {name: form(draw.choice(TOKENS)) for name in NAMES if draw.random() < 0.3}
    several = lambda: [t for t in (form(t) for t in draw.sample(TOKENS, draw.randint(0, 3))) if t]
    keys = tokens()
    if draw.random() < 0.3:
        keys["additional_special_tokens"] = several()
    if draw.random() < 0.3:
        keys["extra_special_tokens"] = {"image_token": t for t in several()}
    if draw.random() < 0.4:
        ids = draw.sample(range(255, 300), 3)
        keys["added_tokens_decoder"] = {
            str(i): added_token(t, **{f: draw.random() < 0.4 for f in ("lstrip", "rstrip", "normalized", "special")})
            for i, t in zip(ids, draw.sample(TOKENS, draw.randint(0, 3)))
        }
    for key in ("add_bos_token", "add_eos_token"):
        if draw.random() < 0.4:
            keys[key] = draw.choice([True, True, False, None])
    if draw.random() < 0.1:
        keys["split_special_tokens"] = draw.choice([True, False])
    if draw.random() < 0.15:
        keys["add_prefix_space"] = draw.choice([True, False, None])
    files = config(draw.choice(CLASSES), keys)
    files["config.json"] = {"model_type": draw.choice(MODEL_TYPES)}
    if draw.random() < 0.5:
        special = {k: v for k, v in tokens().items()}
        special = {k: {x: y for x, y in v.items() if x != "__type"} if isinstance(v, dict) else v for k, v in special.items()}
        if draw.random() < 0.4:
            special["additional_special_tokens"] = several()
        files["special_tokens_map.json"] = special
    if draw.random() < 0.3:
        files["added_tokens.json"] = {t: 268 + i for i, t in enumerate(draw.sample(TOKENS, draw.randint(1, 3)))}
    return changes, files


def write(folder, tokenizer, files):
    for name, content in {"tokenizer.json": tokenizer, **files}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")


def expected(tokenizer, files):
    """What transformers gives for a folder; none if it refuses it."""
    from transformers import AutoTokenizer

    with tempfile.TemporaryDirectory() as place:
        write(Path(place), tokenizer, files)
        try:
            loaded = AutoTokenizer.from_pretrained(place, local_files_only=True)
            rendered = loaded.apply_chat_template(CHAT, tokenize=False)
            return {
                "text": loaded(TEXT).input_ids,
                "rendered": rendered,
                "chat": loaded.apply_chat_template(CHAT, tokenize=True),
                "eos": loaded.eos_token_id,
                "bos": loaded.bos_token_id,
            }
        except Exception:
            return None


def compact(value):
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def main(out, count=120, seed=0):
    warnings.simplefilter("ignore")
    base, draw = base_tokenizer(), random.Random(int(seed))
    made = [] if count != 120 else list(table())
    made += [(f"drawn {i}", *drawn(draw)) for i in range(int(count))]
    folders = []
    for what, changes, files in made:
        gives = expected({**copy.deepcopy(base), **changes}, files)
        folders.append({"what": what, "changes": changes, "files": files, "gives": gives})
    # The template is the same nearly everywhere.
    lines = ",\n".join(compact(folder).replace(compact(TEMPLATE), '"TEMPLATE"') for folder in folders)
    head = compact({"base": base, "template": TEMPLATE, "text": TEXT, "messages": CHAT})
    Path(out).write_text(f'{head[:-1]},"folders":[\n{lines}\n]}}\n', encoding="utf-8")
    print(f"{len(folders)} folders, {sum(f['gives'] is None for f in folders)} refused by transformers", file=sys.stderr)


if __name__ == "__main__":
    if len(sys.argv) not in (2, 4):
        sys.exit(__doc__)
    main(*sys.argv[1:])
