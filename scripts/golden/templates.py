"""What transformers renders: snippets of templates and the templates of a dozen families of models over conversations.

usage: templates.py OUT_FILE
"""

import copy
import json
import sys
import warnings
from datetime import datetime
from pathlib import Path

import jinja2
from transformers.utils import chat_template_utils

from template_snippets import DATES, FORMATS, snippets

FAMILIES = Path(__file__).parent / "templates"
SPECIALS = {"bos_token": "<s>", "eos_token": "</s>"}

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "find_sock",
            "description": "Looks for a sock that is lost.\nIt may take a while.",
            "parameters": {
                "type": "object",
                "properties": {
                    "colour": {"type": "string", "description": "The colour", "enum": ["red", "grün"]},
                    "count": {"type": "integer", "description": "How many", "default": 2},
                    "places": {"type": "array", "items": {"type": "string"}, "description": "Where to look"},
                },
                "required": ["colour"],
            },
            "return": {"type": "string", "description": "Where it lies"},
        },
    },
    {"type": "function", "function": {"name": "hum", "description": "Hums.", "parameters": {"type": "object", "properties": {}}}},
]


def said(*turns):
    return [{"role": role, "content": content} for role, content in turns]


def called(arguments, **more):
    call = {"type": "function", "id": "call00001", "function": {"name": "find_sock", "arguments": arguments}}
    return {"role": "assistant", "content": "", "tool_calls": [call], **more}


CONVERSATIONS = [
    {"messages": said(("user", "Hello?"), ("assistant", "Hi there."))},
    {"messages": said(("system", "Be silly."), ("user", "Why?"), ("assistant", "Because of the ducks."))},
    {"messages": said(("user", "One"), ("assistant", " two "), ("user", "three\n"), ("assistant", "\n four"), ("user", "five"))},
    {"messages": said(("user", "Žluťoučký 🐎 \u2028 'x' \"y\" <b>&amp;</b>"), ("assistant", "漢字\tтекст\\n {{ x }} {% if %}"))},
    {"messages": said(("user", ""), ("assistant", ""))},
    {"messages": said(("assistant", "I begin."), ("user", "And I?"), ("assistant", "You end."))},
    {"messages": [{"role": "user", "content": "Think."}, {"role": "assistant", "reasoning_content": "Ducks float.\nSo do I.", "content": "Yes."}]},
    {"messages": said(("user", "Think."), ("assistant", "<think>\nquack\n</think>\n\nDuck."), ("user", "Again."), ("assistant", "<think>\nmoo\n</think>\n\nCow."))},
    {"messages": [*said(("system", "Mind the socks."), ("user", "Find it.")), called({"colour": "red", "count": 2, "places": ["sofa", "é"]}), {"role": "tool", "name": "find_sock", "tool_call_id": "call00001", "content": "under the sofa"}, *said(("assistant", "Under the sofa."))], "tools": TOOLS},
    {"messages": [*said(("user", "Find it.")), called('{"colour": "red"}'), {"role": "tool", "name": "find_sock", "tool_call_id": "call00001", "content": "gone"}, *said(("assistant", "Gone."), ("user", "Oh."), ("assistant", "Well."))], "tools": TOOLS[:1]},
    {"messages": said(("user", "Just a question."), ("assistant", "Just an answer.")), "tools": TOOLS},
    {"messages": [{"role": "user", "content": [{"type": "text", "text": "A part."}, {"type": "text", "text": " Another."}]}, {"role": "assistant", "content": [{"type": "text", "text": "A reply."}]}]},
    {"messages": [{"role": "user", "content": None}, {"role": "assistant", "content": None, "name": "duck", "weight": 0.5, "n": 12345678901234567890, "ok": True, "none": None}]},
    {"messages": said(("developer", "Develop."), ("user", "Now."), ("assistant", "Done."))},
    {"messages": [{"role": "user", "content": "Two at once."}, {"role": "assistant", "content": "Looking.", "reasoning_content": "Hm.", "tool_calls": [{"type": "function", "id": "call00001", "function": {"name": "hum", "arguments": {}}}, {"type": "function", "id": "call00002", "function": {"name": "find_sock", "arguments": {"colour": "grün", "n": 1.0, "x": None, "y": True}}}]}, {"role": "tool", "name": "hum", "tool_call_id": "call00001", "content": "hmm"}, {"role": "tool", "name": "find_sock", "tool_call_id": "call00002", "content": "{\"found\": true}"}, {"role": "assistant", "content": "Both done."}], "tools": TOOLS},
]


class Noon(datetime):
    """Noon of the day that strait tells templates."""

    day_told = "2024-07-26"

    @classmethod
    def now(cls):
        return datetime.fromisoformat(cls.day_told + "T12:00:00")


def rendered(source, conversation, prompt=False):
    """The text, or nothing and the name of the error."""
    conversation = copy.deepcopy(conversation)
    try:
        compiled = chat_template_utils._compile_jinja_template(source)
        text = compiled.render(
            messages=conversation["messages"],
            tools=conversation.get("tools"),
            documents=None,
            add_generation_prompt=prompt,
            **SPECIALS,
        )
        text.encode()
        return {"text": text}
    except (Exception, RecursionError) as error:
        return {"error": type(error).__name__}


def is_stable(result):
    """Whether a text says nothing of places in memory."""
    return " at 0x" not in result.get("text", "")


def main():
    warnings.simplefilter("ignore")
    assert jinja2.__version__ == "3.1.6"
    chat_template_utils.datetime = Noon
    chat_template_utils._compile_jinja_template.__wrapped__.__globals__["datetime"] = Noon
    cases, unstable = [], []
    for source in snippets():
        result = rendered(source, CONVERSATIONS[1])
        if is_stable(result):
            cases.append({"source": source, **result})
        else:
            unstable.append(source)
    templates = {path.stem: path.read_text() for path in sorted(FAMILIES.glob("*.jinja"))}
    for name, source in templates.items():
        for index, conversation in enumerate(CONVERSATIONS):
            prompt = index % 3 == 2 or conversation["messages"][-1]["role"] == "user"
            cases.append({"template": name, "conversation": index, "prompt": prompt, **rendered(source, conversation, prompt)})
    dates = []
    for day in DATES:
        Noon.day_told = day
        for format in FORMATS:
            source = "{{ strftime_now(" + json.dumps(format) + ") }}"
            dates.append({"date": day, "format": format, **rendered(source, CONVERSATIONS[0])})
    lines = ",\n".join(json.dumps(case, ensure_ascii=False, separators=(",", ":")) for case in cases)
    parts = {
        "conversations": CONVERSATIONS,
        "templates": templates,
        "dates": dates,
        "unstable": unstable,
    }
    parts = ",\n".join(f"{json.dumps(key)}:{json.dumps(part, ensure_ascii=False, separators=(',', ':'))}" for key, part in parts.items())
    Path(sys.argv[1]).write_text("{" + parts + ',\n"cases":[\n' + lines + "\n]}\n")
    texts = sum("text" in case for case in cases)
    print(f"{len(cases)} cases, {texts} of them texts; {len(unstable)} left out for places in memory; {len(dates)} dates")


if __name__ == "__main__":
    main()
