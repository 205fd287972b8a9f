"""Text and token ids of chats, and token ids of a plain text, by transformers, for `strait check` to hold its own against.

usage: chats.py FOLDER < chats
Standard input is one object {"chats": [{"messages", "tools", "add_generation_prompt"}, ...], "text": "..."}. Standard output is
one object: the version, for each chat its text and ids or the words with which it was refused, and the ids of the plain text.
Where something fails it is {"error": "..."}.
"""

import contextlib
import json
import os
import sys


def written(tokenizer, chat):
    """The text and the ids of one chat."""
    try:
        text = tokenizer.apply_chat_template(
            chat["messages"],
            tools=chat.get("tools"),
            add_generation_prompt=chat.get("add_generation_prompt", False),
            tokenize=False,
        )
        return {"text": text, "ids": tokenizer(text, add_special_tokens=False).input_ids}
    except Exception as error:  # templates refuse what they do not know
        return {"refused": f"{type(error).__name__}: {error}"}


def compare(folder, asked):
    """The object to print."""
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
    if not tokenizer.is_fast:
        raise ValueError(f"transformers takes {type(tokenizer).__name__}, which is not a fast tokenizer")
    return {
        "transformers": transformers.__version__,
        "chats": [written(tokenizer, chat) for chat in asked["chats"]],
        "text": tokenizer(asked["text"]).input_ids,
    }


def main():
    os.environ["HF_HUB_OFFLINE"] = "1"
    # Libraries may print; only the one object belongs on standard output.
    with contextlib.redirect_stdout(sys.stderr):
        try:
            answer = compare(sys.argv[1], json.load(sys.stdin))
        except Exception as error:  # whatever it is, the caller reads it from the object
            answer = {"error": f"{type(error).__name__}: {error}"}
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
