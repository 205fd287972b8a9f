#!/usr/bin/env python3
"""strait and PyTorch in turn: the steps of `strait bench`, a few rounds of each, as one table of medians and ratios.

usage: run.py [--model M] [--steps STEPS] [--rounds N] [--threads N] [--llama-server PATH] [--out DIR] ...

    python3 -m venv env && env/bin/pip install -r scripts/bench/requirements.txt
    cargo build --release
    env/bin/python scripts/bench/run.py --model smollm2-135m-instruct

In each round every step is timed by strait and then by PyTorch, both in f32 and in bf16, each in a process of its
own, so that what else the machine does touches all alike. A ratio is that of one round; the table has the median of
the rounds, and the least and the most. It is PyTorch's time, in the precision that is the faster one, over strait's
in its faster one. What strait computes once for its rows before the first step is not in a step's time; the second
ratio adds it to each step, as if each row were seen once. The third is that of f32 in both. --out keeps every object
that was printed. After Ctrl-C the table has what was timed until then. On a machine that does other work too, set
OMP_WAIT_POLICY=passive: PyTorch's threads spin while they wait, and lose their cores meanwhile.
"""

import argparse
import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from llama import Server

HERE = Path(__file__).resolve().parent
STEPS = "score,sweep,steering,steering-kl,lora,full,sample,decode"
# Arguments beside those of all by the name of a column; the fastest one counts.
STRAIT = {"strait f32": [], "strait bf16": ["--precision", "bf16"]}
PYTORCH = {"PyTorch f32": ["--precision", "f32"], "PyTorch bf16": ["--precision", "bf16"]}
F32 = ["strait f32", "PyTorch f32"]
LLAMA = "llama.cpp"


def printed(command, file):
    """The JSON object that a command prints, kept in a file; none where it fails."""
    done = subprocess.run([str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        print(f"failed: {' '.join(map(str, command))}\n{done.stderr[-2000:]}", file=sys.stderr)
        return None
    file.write_text(done.stdout)
    return json.loads(done.stdout)


def cost(result):
    """Seconds of a step, or of a token where it draws some: answers may end by themselves."""
    return result["seconds"] / result.get("tokens", 1)


def fastest(results, columns):
    """The column whose median is the least, of those that were timed in every round."""
    rounds = max(map(len, results.values()))
    whole = [column for column in columns if len(results.get(column, [])) == rounds]
    return min(whole, key=lambda column: statistics.median(map(cost, results[column])), default=None)


def spread(values):
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def ratios(results, ours, theirs, seconds=cost):
    return spread([cost(b) / seconds(a) for a, b in zip(results[ours], results[theirs])])


def with_once(result):
    return result["seconds"] + result["once_seconds"]


def table(measured, columns):
    head = ["step", *columns, "ratio", "each row once", "ratio in f32", "over its floor", "f32 over its floor"]
    head += ["memory", "of PyTorch's"]
    rows = [head, ["---"] * len(head)]
    for step, results in measured.items():
        ours, theirs = fastest(results, STRAIT), fastest(results, PYTORCH)
        rate = "tokens" in next(iter(results.values()))[0]

        def figure(column):
            if not results.get(column):
                return "-"
            median = statistics.median(map(cost, results[column]))
            return f"{1 / median:.0f} tokens/s" if rate else f"{median:.3f} s"

        memory = {column: statistics.median(r["peak_bytes"] for r in results[column]) for column in results if results[column]}
        row = [step, *map(figure, columns)]
        row.append(ratios(results, ours, theirs) if ours and theirs else "-")
        row.append(ratios(results, ours, theirs, with_once) if ours and theirs and not rate else "-")
        row.append(ratios(results, *F32) if all(map(results.get, F32)) else "-")
        row += [spread([r["ratio"] for r in results[column]]) if results.get(column) else "-" for column in [ours, F32[0]]]
        row.append(f"{memory[ours] / 1e9:.2f} GB" if ours else "-")
        row.append(f"{memory[ours] / memory[theirs]:.2f}" if ours and theirs else "-")
        rows.append(row)
        if results.get(LLAMA) and ours:
            print(f"{step}: llama.cpp's time over strait's {ratios(results, ours, LLAMA)}")
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--strait", default=HERE / "../../target/release/strait", help="the program")
    arguments.add_argument("--python", default=sys.executable, help="a Python with requirements.txt")
    arguments.add_argument("--model", default="smollm2-135m-instruct", help="as strait's --model")
    arguments.add_argument("--steps", default=STEPS, help="with commas between them")
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--threads", type=int, default=2)
    arguments.add_argument("--attention", default="sdpa", choices=["sdpa", "eager"], help="PyTorch's")
    for size in ["--row-tokens", "--answers", "--answer-tokens"]:
        arguments.add_argument(size, type=int, help="as strait bench has it")
    arguments.add_argument("--llama-server", help="llama.cpp's server, to sample beside strait from a GGUF file")
    arguments.add_argument("--out", type=Path, help="a folder for all that was printed")
    asked = arguments.parse_args()

    out = asked.out or Path(tempfile.mkdtemp(prefix="strait-bench-"))
    out.mkdir(parents=True, exist_ok=True)
    pulled = printed([asked.strait, "model", "pull", asked.model, "--json"], out / "model.json")
    if pulled is None:
        sys.exit(1)
    sizes = [("--row-tokens", asked.row_tokens), ("--answers", asked.answers), ("--answer-tokens", asked.answer_tokens)]
    sizes = [part for name, value in sizes if value is not None for part in (name, value)]
    measured = {step: {} for step in asked.steps.split(",")}
    columns = [*STRAIT, *PYTORCH, *([LLAMA] if asked.llama_server else [])]
    # Ctrl-C ends the rounds, and what was timed is shown.
    with contextlib.suppress(KeyboardInterrupt), contextlib.ExitStack() as held:
        server = None
        for number in range(asked.rounds):
            for step, results in measured.items():
                file = lambda column: out / f"{number}-{step}-{column.replace(' ', '-')}.json"
                report = None
                for column, flags in STRAIT.items():
                    command = [asked.strait, "bench", "--model", asked.model, "--steps", step, "--json"]
                    said = printed([*command, "--threads", asked.threads, *sizes, *flags], file(column))
                    if said:
                        report = (said, file(column))
                        results.setdefault(column, []).append(said["results"][0])
                if report is None:
                    continue
                for column, flags in PYTORCH.items():
                    command = [asked.python, HERE / "pytorch.py", "--model", pulled["path"], "--batch", report[1]]
                    command += ["--step", step, "--threads", asked.threads, "--attention", asked.attention]
                    said = printed([*command, *flags], file(column))
                    if said:
                        results.setdefault(column, []).append(said)
                if asked.llama_server and step == "sample":
                    if server is None:
                        batch = report[0]["batch"]
                        server = held.enter_context(Server(asked.llama_server, pulled["path"], asked.threads, batch))
                        server.sampled()  # warms up
                    results.setdefault(LLAMA, []).append(server.sampled())
                print(f"round {number + 1} of {asked.rounds}: {step}", file=sys.stderr)
    measured = {step: results for step, results in measured.items() if results}
    print(f"{asked.model}, {asked.threads} threads, medians of {asked.rounds} rounds; PyTorch's attention: {asked.attention}\n")
    print(table(measured, columns))
    print(f"\nall that was printed: {out}")


if __name__ == "__main__":
    main()
