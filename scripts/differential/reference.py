"""What transformers and PEFT make of a model folder, an adapter and rows: response tokens and losses, or a refusal."""

import json
import warnings
from dataclasses import dataclass, field
from pathlib import Path

import torch
import transformers
from transformers import AutoModelForCausalLM, AutoTokenizer

warnings.filterwarnings("ignore")
transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()
torch.set_num_threads(1)


@dataclass
class Case:
    """One input: files beside those of a base model, rows, and what is right."""

    kind: str
    what: str
    base: Path
    """The folder whose files the case starts from."""
    changes: dict = field(default_factory=dict)
    """File name to text, or to None where the file is left out."""
    conversations: list = field(default_factory=list)
    """What the rows mean: a list of (messages, tools)."""
    rows: bytes | None = None
    """The rows as they are written; where None, the conversations one a line."""
    rows_name: str = "rows.jsonl"
    adapter: Path | None = None
    """A PEFT folder, and how the reference reads it."""
    edited: object = None
    """A model with the adapter in it; otherwise the base model is used."""


class Refused(Exception):
    """The reference gives no number."""


def load_model(folder):
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
    return model.eval().requires_grad_(False)


def spans(tokenizer, messages, tools):
    """Ids of the whole chat and the response spans `[start, end)`: from the generation prompt to the end of the turn.

    A turn whose rendering alone is no beginning of the whole rendering is no response: nobody would be asked for it. Where that
    is so for the last turn, because the template says something of the conversation as a whole before it, its response is what
    follows the last generation prompt.
    """

    def render(count, prompt):
        return tokenizer.apply_chat_template(
            messages[:count], tools=tools, tokenize=False, add_generation_prompt=prompt
        )

    whole = render(len(messages), False)
    encoding = tokenizer(whole, add_special_tokens=False, return_offsets_mapping=True)
    ends = [end for _, end in encoding.offset_mapping]
    found = []
    for turn, message in enumerate(messages):
        if message["role"] != "assistant" or message.get("weight") == 0:
            continue
        try:
            before, after = (render(turn, True) if turn else ""), render(turn + 1, False)
        except Exception:
            continue
        if whole.startswith(before) and whole.startswith(after) and len(before) < len(after):
            bounds = [len(before), len(after)]
        elif turn + 1 == len(messages) and turn and (asked := render(turn, False)) and before.startswith(asked):
            prompt = before[len(asked) :]
            bounds = [whole.rfind(prompt) + len(prompt), len(whole)]
        else:
            continue
        span = [sum(end <= bound for end in ends) for bound in bounds]
        if span[0] < span[1]:
            found.append(span)
    if not found:
        raise Refused("no response")
    return encoding.input_ids, found


def losses(model, tokenizer, conversations):
    """For each conversation its response tokens and their mean cross-entropy in nats; none for one that trains nothing."""
    answers = []
    trained = [
        (messages, tools)
        for messages, tools in conversations
        if any(m["role"] == "assistant" and m.get("weight") != 0 for m in messages)
    ]
    if not trained:
        raise Refused("nothing is trained on")
    for messages, tools in trained:
        try:
            ids, responses = spans(tokenizer, messages, tools)
        except Refused:
            raise
        except Exception as error:
            raise Refused(f"{type(error).__name__}: {error}") from error
        if max(ids) >= model.config.get_text_config().vocab_size:
            raise Refused("an id beyond the embedding")
        with torch.no_grad():
            logits = model(torch.tensor([ids])).logits[0]
        log_probabilities = torch.log_softmax(logits.double(), -1)
        scored = [i for start, end in responses for i in range(max(start, 1), end)]
        loss = -sum(log_probabilities[i - 1, ids[i]].item() for i in scored) / len(scored)
        answers.append({"tokens": len(scored), "loss": loss})
    return answers


def write(case, folder):
    """The case's model folder and rows."""
    model = folder / "model"
    model.mkdir(parents=True)
    for file in case.base.iterdir():
        if file.name == "golden.json" or file.name in case.changes:
            continue
        (model / file.name).symlink_to(file.resolve())
    for name, text in case.changes.items():
        if text is not None:
            (model / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    rows = case.rows
    if rows is None:
        lines = [{"messages": m} | ({"tools": t} if t is not None else {}) for m, t in case.conversations]
        rows = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines).encode()
    (folder / case.rows_name).write_bytes(rows)


def expect(case, folder, models):
    """The right answer: a list of rows, or a text that says why there is none."""
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder / "model")
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    model = case.edited if case.edited is not None else models[case.base]
    try:
        return losses(model, tokenizer, case.conversations)
    except Refused as refused:
        return str(refused)
