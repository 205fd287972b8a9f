"""Differential test: generated tokenizer files, templates, rows and adapters, read by strait and by transformers, PEFT and Jinja2.

usage: run.py STRAIT OUT_DIR [--seed S] [--tokenizers N] [--templates N] [--rows N] [--adapters N]

For each input strait must give the reference's numbers (response tokens of each row; losses to 1e-4 nats, absolute) or refuse
clearly: exit code 1, one JSON object with an error message and a hint. Anything else is wrong and is listed, with its folder kept under
OUT_DIR. Where the reference itself gives no number, only a refusal is right.
"""

import argparse
import collections
import json
import random
import re
import shutil
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import adapter_cases
import row_cases
import template_cases
import tokenizer_cases
from reference import expect, load_model, write

TINY = Path(__file__).resolve().parents[2] / "crates/strait-model/tests/fixtures/tiny"
TOLERANCE = 1e-4


def answer(strait, case, folder):
    """What strait says: a list of rows, or a dictionary with its error, or a text where it is neither."""
    command = [strait, "score", "--json", "--model", folder / "model", "--data", folder / case.rows_name]
    if case.adapter:
        command += ["--edit", case.adapter]
    try:
        done = subprocess.run(command, capture_output=True, timeout=60)
    except subprocess.TimeoutExpired:
        return "no end within a minute"
    try:
        said = json.loads(done.stdout)
    except ValueError:
        return f"exit {done.returncode}, no JSON: {done.stdout[:200]!r} {done.stderr[-300:]!r}"
    if done.returncode == 0:
        return said["rows"]
    error = said.get("error") or {}
    if done.returncode == 1 and error.get("message") and error.get("hint"):
        return error
    return f"exit {done.returncode}: {said}"


def outcome(expected, said):
    if isinstance(said, str):
        return "wrong", said
    if isinstance(said, dict):
        return ("refused, as the reference" if isinstance(expected, str) else "refused"), said["message"]
    if isinstance(expected, str):
        return "wrong", f"a number where the reference refuses ({expected[:200]})"
    same = len(said) == len(expected) and all(
        a["tokens"] == b["tokens"] and a["loss"] is not None and abs(a["loss"] - b["loss"]) <= TOLERANCE
        for a, b in zip(said, expected)
    )
    brief = lambda rows: ", ".join(f"{r['tokens']} @ {r['loss']:.5f}" for r in rows)
    return ("the same number", "") if same else ("wrong", f"{brief(said)} where the reference gives {brief(expected)}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("strait", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seed", type=int, default=1)
    for kind, count in [("tokenizers", 600), ("templates", 700), ("rows", 400), ("adapters", 400)]:
        parser.add_argument(f"--{kind}", type=int, default=count)
    options = parser.parse_args()
    strait = options.strait.resolve()
    shutil.rmtree(options.out, ignore_errors=True)
    options.out.mkdir(parents=True)
    bases = [TINY / name for name in ("llama", "llama3", "qwen2", "qwen3", "gemma2", "gemma3")]
    models = {base: load_model(base) for base in bases}
    qwen2 = TINY / "qwen2"
    made = [
        lambda rng: tokenizer_cases.cases(rng, options.tokenizers, qwen2),
        lambda rng: template_cases.cases(rng, options.templates, qwen2),
        lambda rng: row_cases.cases(rng, options.rows, qwen2),
        lambda rng: adapter_cases.cases(rng, options.adapters, bases, options.out / "adapters"),
    ]
    counts, refusals, number = collections.defaultdict(collections.Counter), collections.Counter(), 0
    for cases in made:
        for case in cases(random.Random(options.seed)):
            number += 1
            folder = options.out / f"case-{number}"
            write(case, folder)
            expected = case.edited if isinstance(case.edited, str) else expect(case, folder, models)
            verdict, why = outcome(expected, answer(strait, case, folder))
            counts[case.kind][verdict] += 1
            if verdict == "wrong":
                print(f"WRONG {folder.name} ({case.kind}: {case.what[:300]}): {why[:400]}", flush=True)
                (folder / "expected.json").write_text(json.dumps(expected))
                continue
            if verdict == "refused":
                refusals[(case.kind, re.sub(r"`[^`]*(case|adapter)-\d+[^`]*`", "`...`", " ".join(why.split())))] += 1
            shutil.rmtree(folder)
            if case.adapter:
                shutil.rmtree(case.adapter)
    for (kind, why), count in refusals.most_common():
        print(f"refused {count} x ({kind}): {why}")
    for kind, verdicts in counts.items():
        print(f"{kind}: " + ", ".join(f"{count} {verdict}" for verdict, count in verdicts.most_common()))
    total = sum((verdicts for verdicts in counts.values()), collections.Counter())
    print(f"{sum(total.values())} inputs: " + ", ".join(f"{count} {verdict}" for verdict, count in total.most_common()))
    return 1 if total["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main())
