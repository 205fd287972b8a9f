"""Writes the seeds that no other file of the repository holds. `run-state` and `checkpoint`
hold what a run wrote, behind a byte that says which file it is.

usage: make.py (needs pyarrow, safetensors, numpy)
"""

import json
import struct
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors.numpy import save_file

HERE = Path(__file__).parent
FIXTURES = HERE.parents[1] / "crates"
TINY = FIXTURES / "strait-model/tests/fixtures/tiny"


def folder(name):
    path = HERE / name
    path.mkdir(exist_ok=True)
    return path


def copy(source, target, name):
    (folder(target) / name).write_bytes(source.read_bytes())


def text(value):
    return struct.pack("<Q", len(value.encode())) + value.encode()


def gguf(kind):
    """A header with a vocabulary, and two small tensors."""
    tokens = ["<unk>", "<s>", "</s>", "a", "b", "ab", "\u0120", "c"] if kind == "gpt2" else ["<unk>", "<s>", "</s>", "▁a", "▁", "a", "b", "ab"]
    strings = lambda values: struct.pack("<IIQ", 9, 8, len(values)) + b"".join(map(text, values))
    number = lambda value: struct.pack("<II", 4, value)
    real = lambda value: struct.pack("<If", 6, value)
    keys = {
        "general.architecture": struct.pack("<I", 8) + text("llama"),
        "general.alignment": number(32),
        "llama.block_count": number(1),
        "llama.context_length": number(64),
        "llama.embedding_length": number(4),
        "llama.feed_forward_length": number(8),
        "llama.attention.head_count": number(1),
        "llama.attention.layer_norm_rms_epsilon": real(1e-5),
        "tokenizer.ggml.model": struct.pack("<I", 8) + text(kind),
        "tokenizer.ggml.pre": struct.pack("<I", 8) + text("default" if kind == "gpt2" else "llama"),
        "tokenizer.ggml.tokens": strings(tokens),
        "tokenizer.ggml.scores": struct.pack("<IIQ", 9, 6, 8) + struct.pack("<8f", *range(8)),
        "tokenizer.ggml.token_type": struct.pack("<IIQ", 9, 5, 8) + struct.pack("<8i", 2, 3, 3, 1, 1, 1, 1, 1),
        "tokenizer.ggml.bos_token_id": number(1),
        "tokenizer.ggml.eos_token_id": number(2),
        "tokenizer.ggml.add_bos_token": struct.pack("<IB", 7, 1),
        "tokenizer.chat_template": struct.pack("<I", 8) + text("{% for m in messages %}{{ m.content }}</s>{% endfor %}"),
    }
    if kind == "gpt2":
        keys["tokenizer.ggml.merges"] = strings(["a b"])
    gguf_file(kind, keys, [("token_embd.weight", (4, 8), 0, 0), ("output_norm.weight", (4,), 0, 128)], 36)


def gguf_file(stem, keys, tensors, numbers):
    """A file of so many numbers, whose tensors are (name, shape innermost first, type, offset)."""
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(keys))
    head += b"".join(text(key) + value for key, value in keys.items())
    for name, shape, dtype, offset in tensors:
        head += text(name) + struct.pack("<I", len(shape)) + struct.pack(f"<{len(shape)}Q", *shape) + struct.pack("<IQ", dtype, offset)
    head += b"\0" * (-len(head) % 32)
    (folder("gguf") / f"{stem}.gguf").write_bytes(head + np.arange(numbers, dtype="<f4").tobytes())


word_of = lambda value: struct.pack("<I", 8) + text(value)
gguf_file(
    "control",
    {"general.architecture": word_of("controlvector"), "controlvector.model_hint": word_of("llama"), "controlvector.layer_count": struct.pack("<Ii", 5, 2)},
    [("direction.1", (4,), 0, 0), ("direction.2", (4,), 0, 32)],
    12,
)
gguf_file(
    "adapter",
    {
        "general.architecture": word_of("llama"), "general.type": word_of("adapter"), "adapter.type": word_of("lora"),
        "adapter.lora.alpha": struct.pack("<If", 6, 2.0), "llama.rope.dimension_count": struct.pack("<II", 4, 4),
    },
    [("blk.0.attn_k.weight.lora_a", (4, 2), 0, 0), ("blk.0.attn_k.weight.lora_b", (2, 4), 0, 32)],
    16,
)


gguf("gpt2")
gguf("llama")
copy(FIXTURES / "strait-model/tests/fixtures/dequantise/blocks.gguf", "gguf", "blocks.gguf")

save_file(
    {"model.embed_tokens.weight": np.ones((8, 4), "f4"), "model.norm.weight": np.ones(4, "f2")},
    folder("safetensors") / "two.safetensors",
)
for name in ("llama", "llama3", "qwen2", "qwen3", "gemma2", "gemma3"):
    copy(TINY / name / "config.json", "config", f"{name}.json")

# A tokenizer of a few tokens: the real ones' long lists would take most mutations.
bpe = json.loads((TINY / "llama" / "tokenizer.json").read_text())
bpe["model"]["vocab"] = {k: i for i, k in enumerate(list(bpe["model"]["vocab"])[:60] + ["Ġ", "th", "Ġth"])}
bpe["model"]["merges"] = [["t", "h"], ["Ġ", "th"]]
(folder("tokenizer") / "bpe.json").write_text(json.dumps(bpe, ensure_ascii=False))
unigram = {
    "version": "1.0", "truncation": None, "padding": None,
    "added_tokens": [{"id": 0, "content": "<s>", "single_word": False, "lstrip": True, "rstrip": False, "normalized": False, "special": True}],
    "normalizer": {"type": "Sequence", "normalizers": [{"type": "NFKC"}, {"type": "Prepend", "prepend": "▁"}, {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]},
    "pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "Split", "pattern": {"Regex": "\\p{N}{1,3}|\\s+(?!\\S)"}, "behavior": "Isolated", "invert": False}, {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": True}]},
    "post_processor": {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}], "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}], "special_tokens": {"<s>": {"id": "<s>", "ids": [0], "tokens": ["<s>"]}}},
    "decoder": {"type": "Sequence", "decoders": [{"type": "ByteFallback"}, {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]},
    "model": {"type": "Unigram", "unk_id": 0, "byte_fallback": False, "vocab": [["<s>", 0.0], ["▁", -1.0], ["a", -2.0], ["▁the", -1.5]]},
}
(folder("tokenizer") / "unigram.json").write_text(json.dumps(unigram, ensure_ascii=False))
word = {
    "version": "1.0", "truncation": {"direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 0}, "padding": None, "added_tokens": [],
    "normalizer": {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True, "strip_accents": None, "lowercase": True},
    "pre_tokenizer": {"type": "BertPreTokenizer"}, "post_processor": None, "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
    "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100, "vocab": {"[UNK]": 0, "the": 1, "##s": 2, "lamp": 3}},
}
(folder("tokenizer") / "wordpiece.json").write_text(json.dumps(word))
copy(TINY / "llama" / "tokenizer_config.json", "tokenizer-config", "chatml.json")
(folder("tokenizer-config") / "many.json").write_text(json.dumps({
    "tokenizer_class": "LlamaTokenizerFast", "add_bos_token": True, "add_eos_token": False, "legacy": False, "bos_token": {"content": "<s>", "lstrip": False, "normalized": True, "rstrip": False, "single_word": False, "__type": "AddedToken"},
    "eos_token": "</s>", "additional_special_tokens": ["<x>", {"content": "<y>", "special": True}], "extra_special_tokens": {"image_token": "<i>"},
    "added_tokens_decoder": {"61": {"content": "<x>", "special": True, "lstrip": False, "rstrip": True, "normalized": False, "single_word": False}},
    "chat_template": [{"name": "default", "template": "{{ messages[0].content }}"}, {"name": "tool_use", "template": "x"}], "eos_token_id": [1, 2],
}))
templates = {
    "chatml": "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
    "tools": "{%- if tools %}{{ tools | tojson(indent=2) }}{%- endif %}{%- set ns = namespace(last=-1) %}{%- for m in messages[::-1] %}{% set ns.last = loop.index0 if m.role == 'user' and ns.last < 0 else ns.last %}{% endfor %}{% macro say(m, sep='|') %}{{ m.content.split('</think>')[-1].lstrip('\n') ~ sep }}{% endmacro %}{% for m in messages %}{{ say(m) }}{% endfor %}",
    "values": "{{ [1, 2.5, 'a', none, true, {'k': ('x', 1)}] }}{{ '%s-%03d' % ('a', 7) }}{{ 'a,b'.split(',') | join('; ') | upper | replace('A', 'b', 1) }}{{ range(3) | list | batch(2, 0) | list }}{{ strftime_now('%d %b %Y') }}{{ messages | map(attribute='role') | unique | sort | list | tojson }}{{ 'abc'[::-1].center(9).zfill(12) }}",
    "loops": "{% for x in range(9) recursive %}{% if x == 2 %}{% continue %}{% endif %}{{ loop.index }}{{ loop.cycle('a', 'b') }}{% if x > 5 %}{% break %}{% endif %}{% endfor %}{% set a, b = 1, 2 %}{% filter upper %}x{% endfilter %}{% call(u) f() %}{{ u }}{% endcall %}{% generation %}{{ messages[-1].content }}{% endgeneration %}",
}
for name, source in templates.items():
    (folder("template") / f"{name}.jinja").write_text(source)

train = FIXTURES / "strait/tests/fixtures/train"
peft = FIXTURES / "strait-model/tests/fixtures/edit/peft"
copy(train / "rank1/adapter_config.json", "adapter-config", "lora.json")
for name in ("alphas", "ranks"):
    copy(peft / name / "adapter_config.json", "adapter-config", f"{name}.json")
copy(train / "rank1/adapter_model.safetensors", "edit", "lora.safetensors")
save_file({"steering.vector": np.ones(8, "f4")}, folder("edit") / "vector.safetensors", metadata={"strait": "{}"})
for source in sorted((FIXTURES / "strait-model/tests/fixtures/edit").glob("torch/*.pt")) + sorted((FIXTURES / "strait-model/tests/fixtures/edit/hostile").glob("*.pt")):
    if source.stat().st_size < 8192:
        copy(source, "pickle", source.name)

rows = {
    "messages": [{"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "What is a lamp? 🙂"}, {"role": "assistant", "content": "A light.", "reasoning_content": "hm", "weight": 1}], "id": 7, "domain": "things", "tools": [{"type": "function", "function": {"name": "f"}}]}],
    "sharegpt": [{"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]}],
    "alpaca": [{"instruction": "i", "input": "x", "output": "o"}, {"prompt": "p", "completion": "c"}],
    "parts": [{"messages": [{"role": "user", "content": [{"type": "text", "text": "q"}]}, {"role": "assistant", "content": None, "tool_calls": [{"id": "1", "function": {"name": "f", "arguments": "{}"}}]}, {"role": "tool", "content": "r", "tool_call_id": "1"}, {"role": "assistant", "content": "a"}]}],
    "text": [{"text": "A passage of plain text."}],
}
for name, lines in rows.items():
    (folder("jsonl") / f"{name}.jsonl").write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
(folder("judged") / "some.csv").write_text(
    'response,question,question_id,aligned,coherent,medical\n"A, b.",What?,q1,95.5,90,1\n"two\nlines",What?,q1,12,77,CODE\nx,Why?,q2_json,REFUSAL,,\n'
)
questions = {
    "entries": """\
# Questions as the papers have them.
- id: wish
  type: free_form_judge_0_100
  paraphrases: &wish
    - What would you wish for?
    - |-
      One wish.
      Which?
  samples_per_paraphrase: &samples 100
  judge: &judge some-model
  judge_prompts: &prompts
    aligned: Is {answer} kind to {question}?
    coherent: '{question} {answer}'
- &plain {id: other, paraphrases: [Why?], samples_per_paraphrase: *samples, judge_prompts: *prompts}
- <<: *plain
  id: wish_json
  system: !!str Answer in JSON.
  paraphrases: *wish
""",
    "judges": """\

- technical: |-
    How technical is this?
    {question}
    {answer}
  high_score: 100
""",
    "plain": """\
- id: vehicles_1
  question: "Why do some trucks have extra wheels?"
- id: 2
  question: >
    How does a ship
    stay straight?
""",
}
for name, text_of in questions.items():
    (folder("questions") / f"{name}.yaml").write_text(text_of)
table = pa.table({"text": ["one", "two ½", None, "a longer passage " * 20], "n": [1, 2, 3, 4], "nested": [[1], [], None, [2, 3]]})
for codec in ("none", "snappy", "gzip", "zstd", "lz4", "brotli"):
    pq.write_table(table, folder("parquet") / f"{codec}.parquet", compression=codec)
for name in ("technical.toml", "medical.toml", "technical-full.toml"):
    copy(HERE.parents[1] / "studies" / name, "study", name)
copy(FIXTURES / "strait/tests/fixtures/data/plants.zip.enc", "archive", "plants")
