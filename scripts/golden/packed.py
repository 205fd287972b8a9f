"""Parquet files and rows as Arrow and Zstandard pack them.

usage: packed.py crates/strait/tests/fixtures/data

Needs pyarrow (made with 26.0.1) and the zstd program (1.5.4).
"""

import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

data = Path(sys.argv[1])
packed = data / "packed"
packed.mkdir(exist_ok=True)

passages = pa.table({"text": [f"Passage {i}, and its words." for i in range(200)]})
for codec in ("none", "snappy", "gzip", "brotli", "lz4", "zstd"):
    pq.write_table(passages, packed / f"{codec}.parquet", compression=codec)

# A page of each kind that packs to a ten-thousandth.
long = pa.table({"text": ["a" * (20 << 20)] * 2})
for name, dictionary in (("long-dictionary", True), ("long-plain", False)):
    options = {"use_dictionary": dictionary, "dictionary_pagesize_limit": 64 << 20, "write_statistics": False}
    pq.write_table(long, packed / f"{name}.parquet", compression="zstd", **options)

# Two frames of the highest level, with checksums and the longest window.
rows = (data / "plants/plain.jsonl").read_bytes()
half = rows.index(b"\n", len(rows) // 2) + 1
pack = ["zstd", "--ultra", "-22", "--long=27", "--check", "--stdout"]
frames = [subprocess.run(pack, input=part, capture_output=True, check=True).stdout for part in (rows[:half], rows[half:])]
(packed / "plain.jsonl.zst").write_bytes(b"".join(frames))
