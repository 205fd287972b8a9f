#!/usr/bin/env python3
"""Holds the claims of two demos against each other: `compare-claims.py BEFORE AFTER`, two `results.json` files.

Prints every field of a claim that differs, the largest difference first, and exits 1 if a verdict, a text or the order differs, or
a figure by more than 1e-6.
"""

import json
import sys

TOLERANCE = 1e-6


def differences(before, after):
    """How far each field of two claims is apart, and what it holds; infinity for what is no number."""
    for field, old in before.items():
        new = after.get(field)
        if old == new:
            continue
        if field == "by_world" and len(old) == len(new):
            yield max(abs(a - b) for a, b in zip(old, new)), field, old, new
        elif isinstance(old, float) and isinstance(new, float):
            yield abs(old - new), field, old, new
        else:
            yield float("inf"), field, old, new


def main():
    before, after = (json.load(open(path))["checks"] for path in sys.argv[1:3])
    ids = [[claim["id"] for claim in claims] for claims in (before, after)]
    if ids[0] != ids[1]:
        sys.exit(f"other claims, or in another order: {sorted(set(ids[0]) ^ set(ids[1]))}")
    found = []
    for old, new in zip(before, after):
        found += [(far, old["id"], *rest) for far, *rest in differences(old, new)]
    for far, name, field, old, new in sorted(found, key=lambda found: -found[0]):
        print(f"{far:.1e}  {name}  {field}: {old} -> {new}")
    print(f"{len(before)} claims, {len(found)} fields differ")
    sys.exit(any(far > TOLERANCE for far, *_ in found))


if __name__ == "__main__":
    main()
