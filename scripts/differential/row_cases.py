"""Rows in the formats that people have, each said again as messages."""

import copy
import gzip
import json

import zstandard

from reference import Case

CHATML = (
    "{% if tools %}{{ '<|im_start|>tools\n' + (tools | tojson) + '<|im_end|>\n' }}{% endif %}{% for message in messages %}"
    "{{ '<|im_start|>' + message.role + '\n' }}{% if message.reasoning_content %}{{ '<think>' + message.reasoning_content + '</think>' }}{% endif %}"
    "{% if message.content is string %}{{ message.content }}{% elif message.content %}{% for part in message.content %}{{ part.text }}{% endfor %}{% endif %}"
    "{% for call in message.tool_calls or [] %}{{ '<call>' + (call.function | tojson) + '</call>' }}{% endfor %}"
    "{% if message.name %}{{ '@' + message.name }}{% endif %}{{ '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
SAID = ["a lamp.", "It is ½ of one.", "two\nlines", "  spaces  ", "naïve 🙂", "1, 2, 3", "\"quoted\" \\ back", "line\u2028separator", "tab\t."]
TOOL = {"type": "function", "function": {"name": "look", "description": "looks", "parameters": {"type": "object", "properties": {"x": {"type": "string"}}}}}


def conversation(rng, plain):
    messages = []
    if rng.random() < 0.3:
        messages.append({"role": "system", "content": rng.choice(SAID)})
    for _ in range(rng.choice([1, 1, 2, 3])):
        messages.append({"role": "user", "content": rng.choice(SAID)})
        answer = {"role": "assistant", "content": rng.choice(SAID).strip() or "x"}
        if not plain and rng.random() < 0.3:
            answer["reasoning_content"] = rng.choice(SAID)
        if not plain and rng.random() < 0.2:
            answer["tool_calls"] = [{"id": "c1", "type": "function", "function": {"name": "look", "arguments": {"x": "y"}}}]
            if rng.random() < 0.5:
                answer["content"] = None
            messages += [answer, {"role": "tool", "content": "seen", "tool_call_id": "c1"} | ({"name": "look"} if rng.random() < 0.5 else {})]
            answer = {"role": "assistant", "content": "done."}
        if not plain and rng.random() < 0.15:
            answer["content"] = [{"type": "text", "text": rng.choice(SAID)}, {"type": "text", "text": "more"}]
        if not plain and rng.random() < 0.15:
            answer["weight"] = rng.choice([0, 1])
        messages.append(answer)
    return messages


def sharegpt(messages):
    names = {"system": "system", "user": "human", "assistant": "gpt"}
    return {"conversations": [{"from": names[m["role"]], "value": m["content"]} for m in messages]}


def single(rng):
    return [{"role": "user", "content": rng.choice(SAID).strip() or "q"}, {"role": "assistant", "content": rng.choice(SAID).strip() or "a"}]


def row(rng, form):
    """A row in a form, and the conversation that it is."""
    if form == "messages":
        messages = conversation(rng, False)
        tools = [TOOL] if rng.random() < 0.3 else None
        return {"messages": messages} | ({"tools": tools} if tools else {}), (messages, tools)
    if form == "sharegpt":
        messages = conversation(rng, True)
        return sharegpt(messages), (messages, None)
    if form == "conversations with roles":
        messages = conversation(rng, True)
        return {"conversations": messages}, (messages, None)
    messages = single(rng)
    question, answer = (m["content"] for m in messages)
    if form == "prompt, completion":
        return {"prompt": question, "completion": answer}, (messages, None)
    if form == "prompt, completion as messages":
        return {"prompt": messages[:1], "completion": messages[1:]}, (messages, None)
    if form == "alpaca":
        return {"instruction": question, "input": "", "output": answer}, (messages, None)
    raise ValueError(form)


FORMS = ["messages", "messages", "messages", "sharegpt", "conversations with roles", "prompt, completion", "prompt, completion as messages", "alpaca"]


def cases(rng, count, base):
    config = json.loads((base / "tokenizer_config.json").read_text())
    changes = {"tokenizer_config.json": json.dumps(config | {"chat_template": CHATML})}
    for _ in range(count):
        form = rng.choice(FORMS)
        made = [row(rng, form) for _ in range(rng.randint(1, 3))]
        lines, what = [copy.deepcopy(line) for line, _ in made], [form]
        if rng.random() < 0.3:
            extra = rng.choice(["id", "source", "score", "my_key"])
            lines = [line | {extra: "7"} for line in lines]
            what.append(extra)
        end = rng.choice(["\n", "\r\n", "\n\n"])
        text = end.join(json.dumps(line, ensure_ascii=rng.random() < 0.5) for line in lines) + rng.choice(["", end])
        data, name = text.encode(), "rows.jsonl"
        if rng.random() < 0.1:
            data = b"\xef\xbb\xbf" + data
            what.append("BOM")
        if rng.random() < 0.15:
            data, name = gzip.compress(data, mtime=0), rng.choice(["rows.jsonl.gz", "rows.jsonl"])
            what.append("gzip")
        elif rng.random() < 0.15:
            data, name = zstandard.compress(data), rng.choice(["rows.jsonl.zst", "rows.jsonl"])
            what.append("zstd")
        yield Case("rows", ", ".join(what), base, changes, [meant for _, meant in made], data, name)
