#!/usr/bin/env python3
"""Reads logs that `strait rates --inspect DIR` wrote with Inspect's own reader, and says what they hold.

usage: inspect-log.py DIR (needs inspect-ai from PyPI; checked with 0.3.285)

Exits 1 if a log cannot be read, or Inspect does not find it in its folder.
"""

import sys
from pathlib import Path

from inspect_ai.log import list_eval_logs, read_eval_log, read_eval_log_sample, write_eval_log

folder = Path(sys.argv[1])
logs = list_eval_logs(str(folder))
files = sorted(folder.glob("*.json"))
assert len(logs) == len(files) > 0, f"Inspect finds {len(logs)} logs of {len(files)} files"
for file in files:
    log = read_eval_log(str(file))
    assert log.version == 2 and log.status == "success" and log.samples
    first = log.samples[0]
    one = read_eval_log_sample(str(file), first.id, first.epoch)
    assert one.output.completion == first.messages[-1].text
    assert len({(sample.id, sample.epoch) for sample in log.samples}) == len(log.samples)
    scores = ", ".join(
        f"{score.name} {metric.name} {metric.value:.4g}" for score in log.results.scores for metric in score.metrics.values()
    )
    print(f"{file.name}: {log.eval.model}, {log.eval.dataset.samples} questions, {len(log.samples)} answers; {scores}")
