"""Tokenizer files: special and added tokens in every place that transformers reads, by several tokenizer classes."""

import copy
import json

from reference import Case

CHATML = (
    "{{ bos_token if bos_token else '' }}{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
ENDING = CHATML.replace("<|im_end|>' + '\n'", "' + (eos_token or '') + '\n'")
WORDS = ["lamp", "a lamp", "  two  spaces", "café", "naïve ½", "tab\there", "🙂", "<x>", "Ｆｕｌｌ", "I'm 12345", "\n\nline", "ﬁn"]
NEW = ["<|tool|>", "<x>", "[SEP]", "lamp", "</s>", "<s>", "<think>", "</think>"]


def token(rng, content):
    if rng.random() < 0.5:
        return content
    return {"content": content, "special": rng.random() < 0.5} | {
        key: rng.random() < 0.3 for key in ("lstrip", "rstrip", "normalized", "single_word")
    } | {"__type": "AddedToken"}


def cases(rng, count, base):
    original = {name: json.loads((base / name).read_text()) for name in ("tokenizer.json", "tokenizer_config.json")}
    size = json.loads((base / "config.json").read_text())["vocab_size"]
    for number in range(count):
        library, config = copy.deepcopy(original["tokenizer.json"]), copy.deepcopy(original["tokenizer_config.json"])
        changes, what = {}, []
        config["chat_template"] = rng.choice([CHATML, CHATML, ENDING])
        next_id = max(library["model"]["vocab"].values()) + 1

        def added(content, into):
            nonlocal next_id
            if next_id >= size + (rng.random() < 0.05):
                return
            entry = token(rng, content)
            entry = entry if isinstance(entry, dict) else {"content": content, "special": True}
            entry = {k: entry.get(k, False) for k in ("content", "lstrip", "normalized", "rstrip", "single_word", "special")}
            if into == "library":
                library["added_tokens"].append({"id": next_id} | entry)
            elif into == "decoder":
                config.setdefault("added_tokens_decoder", {})[str(next_id)] = entry
            elif into == "added":
                changes.setdefault("added_tokens.json", {})[content] = next_id
            what.append(f"{content} in {into}")
            next_id += 1

        for content in rng.sample(NEW, rng.choice([0, 1, 1, 2, 3])):
            added(content, rng.choice(["library", "decoder", "decoder", "added"]))
        if rng.random() < 0.3:
            config.pop("added_tokens_decoder", None)
            what.append("no decoder")
        for key in ("bos_token", "eos_token", "pad_token", "unk_token"):
            if rng.random() < 0.4:
                where = rng.choice(["config", "map", "both", "neither", "null"])
                content = rng.choice(["<|im_end|>", "<|im_start|>"] + NEW)
                config.pop(key, None)
                if where in ("config", "both"):
                    config[key] = token(rng, content)
                if where in ("map", "both"):
                    other = content if where == "map" else rng.choice(["<|im_end|>", content])
                    entry = token(rng, other)
                    if isinstance(entry, dict):
                        entry.pop("__type")
                    changes.setdefault("special_tokens_map.json", {})[key] = entry
                if where == "null":
                    config[key] = None
                what.append(f"{key} {where} {content}")
        if rng.random() < 0.3:
            config["additional_special_tokens"] = rng.sample(NEW + ["<|im_start|>"], 2)
        if rng.random() < 0.25:
            changes.setdefault("special_tokens_map.json", {})["additional_special_tokens"] = rng.sample(NEW, 2)
        if rng.random() < 0.3:
            config["add_bos_token"] = rng.choice([True, False])
            what.append(f"add_bos_token {config['add_bos_token']}")
        if rng.random() < 0.2:
            config["add_eos_token"] = rng.choice([True, False])
        if rng.random() < 0.4:
            config["tokenizer_class"] = rng.choice(
                ["PreTrainedTokenizerFast", "Qwen2TokenizerFast", "Qwen2Tokenizer", "GPT2TokenizerFast", "GPT2Tokenizer",
                 "LlamaTokenizerFast", "LlamaTokenizer", "GemmaTokenizerFast", "GemmaTokenizer", None]
            )
            what.append(str(config["tokenizer_class"]))
            if config["tokenizer_class"] is None:
                del config["tokenizer_class"]
        if rng.random() < 0.3:
            library["normalizer"] = rng.choice(
                [{"type": "NFC"}, {"type": "NFKC"}, {"type": "Lowercase"}, {"type": "Strip", "strip_left": True, "strip_right": False},
                 {"type": "Sequence", "normalizers": [{"type": "NFD"}, {"type": "StripAccents"}]},
                 {"type": "Replace", "pattern": {"String": "a"}, "content": "aa"}]
            )
            what.append(str(library["normalizer"]["type"]))
        if rng.random() < 0.2:
            library["pre_tokenizer"]["add_prefix_space"] = True
        if rng.random() < 0.15:
            config["add_prefix_space"] = rng.choice([True, False])
        if rng.random() < 0.15:
            config["clean_up_tokenization_spaces"] = rng.choice([True, False])
        if rng.random() < 0.15:
            library["truncation"] = {"direction": "Right", "max_length": 8, "strategy": "LongestFirst", "stride": 0}
        if rng.random() < 0.1:
            changes["special_tokens_map.json"] = None
        if rng.random() < 0.1:
            changes["chat_template.jinja"] = CHATML.replace("\\n", "\n")
        if rng.random() < 0.05:
            changes["tokenizer_config.json"] = None
        texts = [" ".join(rng.choice(WORDS + NEW) for _ in range(rng.randint(1, 6))) for _ in range(4)]
        conversations = [
            ([{"role": "user", "content": a}, {"role": "assistant", "content": b}], None)
            for a, b in (texts[:2], texts[2:])
        ]
        files = {"tokenizer.json": library} | ({} if "tokenizer_config.json" in changes else {"tokenizer_config.json": config})
        written = {
            name: value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            for name, value in (files | changes).items()
        }
        yield Case("tokenizer", "; ".join(what), base, written, conversations)
