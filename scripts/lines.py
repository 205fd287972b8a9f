#!/usr/bin/env python3
"""Lines of code without tests: by crate, the median file, and the files that are too long. Exits 1 if one is over 600 lines.

What stands in `tests/`, in a `tests.rs` and below `#[cfg(test)]` at the left margin is not counted.
"""

import statistics
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LONG, LONGEST = 400, 600


def counted(file):
    """Lines before a file's tests."""
    lines = file.read_text().splitlines()
    return lines.index("#[cfg(test)]") if "#[cfg(test)]" in lines else len(lines)


def main():
    files = {}
    for crate in sorted(ROOT.glob("crates/*")):
        for file in crate.glob("src/**/*.rs"):
            if file.name != "tests.rs":
                files[file] = (crate.name, counted(file))
    for crate in sorted({crate for crate, _ in files.values()}):
        lengths = [lines for of, lines in files.values() if of == crate]
        print(f"{crate:<14}{sum(lengths):>7} lines{len(lengths):>5} files, median {statistics.median(lengths):.0f}")
    lengths = [lines for _, lines in files.values()]
    print(f"{'all':<14}{sum(lengths):>7} lines{len(lengths):>5} files, median {statistics.median(lengths):.0f}")
    for file, (_, lines) in sorted(files.items(), key=lambda item: -item[1][1]):
        if lines > LONG:
            print(f"{lines:>6} {file.relative_to(ROOT)}")
    sys.exit(max(lengths) > LONGEST)


if __name__ == "__main__":
    main()
