"""The answers of `strait bench`'s step `sample` by llama.cpp's server: as many requests beside each other as there are answers."""

import json
import os
import socket
import subprocess
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor

WAIT = 120  # seconds for the server to load the model


def ask(port, path, body=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=600) as answer:
        return json.load(answer)


class Server:
    """A server that is up while it is used in a `with`."""

    def __init__(self, program, model, threads, batch):
        self.batch = batch
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        answers = batch["answers"]
        context = answers * (len(batch["prompt"]) + batch["answer_tokens"] + 16)
        self.command = [program, "-m", model, "-t", threads, "-tb", threads, "-np", answers, "-c", context]
        self.command += ["--host", "127.0.0.1", "--port", self.port]

    def __enter__(self):
        command = [str(part) for part in self.command]
        # What is set for PyTorch makes llama.cpp three times as slow: its threads wait for each other at every operation.
        env = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=env)
        for _ in range(10 * WAIT):
            try:
                ask(self.port, "/health")
                return self
            except OSError:
                if self.process.poll() is not None:
                    raise SystemExit(f"{command[0]} ended with {self.process.returncode}") from None
                time.sleep(0.1)
        self.process.terminate()
        raise SystemExit(f"{command[0]} did not answer within {WAIT} s")

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()

    def sampled(self):
        """Samples all answers, and says what `strait bench` says of a step."""
        body = {"prompt": self.batch["prompt"], "n_predict": self.batch["answer_tokens"], "ignore_eos": True}
        body |= {"temperature": 1.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0, "cache_prompt": True}
        answers = self.batch["answers"]
        start = time.perf_counter()
        with ThreadPoolExecutor(answers) as pool:
            asked = [pool.submit(ask, self.port, "/completion", body | {"seed": seed}) for seed in range(answers)]
            tokens = sum(answer.result()["tokens_predicted"] for answer in asked)
        seconds = time.perf_counter() - start
        with open(f"/proc/{self.process.pid}/status") as status:
            peak = next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM:"))
        return {"seconds": seconds, "tokens": tokens, "tokens_per_second": tokens / seconds, "peak_bytes": peak}
