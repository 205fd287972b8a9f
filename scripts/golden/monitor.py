"""The Python lines in a monitor's README against strait: `python monitor.py STRAIT MODEL`.

STRAIT is the program, MODEL a Hugging Face folder such as crates/strait-model/tests/fixtures/tiny/llama. Makes monitors of random directions: of
one layer, of several, by the mean and by a window. Runs the lines of each README as they stand there, with transformers, and
stops where a reading or an alarm is not strait's. Writes nothing that is committed.
"""

import json
import math
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

TOLERANCE = 1e-4
QUESTIONS = 24


def run(strait, *arguments, cwd):
    said = subprocess.run([strait, *arguments, "--json"], cwd=cwd, capture_output=True, text=True)
    if said.returncode:
        sys.exit(f"{arguments}: {said.stdout}{said.stderr}")
    return json.loads(said.stdout)


def main(strait, folder):
    strait, folder = str(Path(strait).resolve()), str(Path(folder).resolve())
    torch.manual_seed(3)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    width, layers = model.config.hidden_size, model.config.num_hidden_layers
    worst = 0.0
    with tempfile.TemporaryDirectory() as place:
        place = Path(place)
        rows = [
            [
                {"role": "user", "content": f"What is number {i}?"},
                {"role": "assistant", "content": f"It is{' about' * (i % 7)} {i}."},
            ]
            for i in range(QUESTIONS)
        ]
        lines = "".join(json.dumps({"messages": row}) + "\n" for row in rows)
        (place / "rows.jsonl").write_text(lines)
        for name, some, more in [
            ("one", [layers // 2], []),
            ("embeddings", [-1], []),
            ("several", [0, layers // 2], []),
            ("window", [1], ["--window", "3"]),
        ]:
            directions = []
            for layer in some:
                file = place / f"{name}-{layer}.safetensors"
                metadata = {"format": "strait.edit", "version": "1"}
                save_file({f"steering.{layer}": torch.randn(width)}, str(file), metadata=metadata)
                directions += ["--direction", file.name]
            common = ["--model", folder]
            run(strait, "monitor", "calibrate", *common, *directions, "--clean", "rows.jsonl", *more, "--out", name, cwd=place)
            read = run(strait, "monitor", "read", name, *common, "--rows", "rows.jsonl", cwd=place)
            code = re.search(r"```python\n(.*?)```", (place / name / "README.md").read_text(), re.S).group(1)
            code = code.replace('"monitor.', f'"{place / name}/monitor.')
            for row, found in zip(rows, read["rows"], strict=True):
                ids = torch.tensor([tokenizer.apply_chat_template(row, return_dict=False)])
                prompt = tokenizer.apply_chat_template(row[:1], add_generation_prompt=True, return_dict=False)
                scope = {"model": model, "ids": ids, "answer": slice(len(prompt), None)}
                with torch.no_grad():
                    exec(code, scope)
                readings = scope["readings"]
                if "window" in name:
                    reading = readings.unfold(0, min(3, len(readings)), 1).mean(1).max().item()
                else:
                    reading = readings.mean().item()
                off = abs(reading - found["reading"]) / max(1.0, abs(reading))
                worst = max(worst, off)
                near = abs(reading - read["threshold"]) < TOLERANCE
                if off > TOLERANCE or math.isnan(off) or (bool(scope["alarm"]) != found["alarm"] and not near):
                    sys.exit(f"{name}: {reading} here, {found} there")
    print(f"the README's lines read as strait does; the furthest reading lies {worst:.1e} apart")


if __name__ == "__main__":
    main(*sys.argv[1:])
