#!/usr/bin/env python3
"""Compares the tables of two run folders, column by column.

usage: compare-tables.py BEFORE AFTER

Both are folders of runs (or their `tables/`). For each table: columns that are new or gone, and columns whose values differ,
with the largest difference. Exit code 1 where anything differs.
"""

import csv
import sys
from pathlib import Path


def tables(folder):
    folder = folder / "tables" if (folder / "tables").is_dir() else folder
    return {path.stem: list(csv.DictReader(path.open(newline=""))) for path in sorted(folder.glob("*.csv"))}


def difference(one, other):
    """The largest difference of two columns of numbers; a text where they are not numbers or differ in kind."""
    largest = 0.0
    for a, b in zip(one, other):
        if a == b:
            continue
        try:
            largest = max(largest, abs(float(a) - float(b)))
        except ValueError:
            return f"{a!r} became {b!r}"
    return f"at most {largest:.3g} apart"


def main():
    before, after = (tables(Path(folder)) for folder in sys.argv[1:3])
    same = True
    for name in sorted(before.keys() | after.keys()):
        if name not in before or name not in after:
            print(f"{name}: {'new' if name in after else 'gone'}")
            same = False
            continue
        old, new = before[name], after[name]
        columns = [list(rows[0]) if rows else [] for rows in (old, new)]
        notes = [f"{column} is gone" for column in columns[0] if column not in columns[1]]
        notes += [f"{column} is new" for column in columns[1] if column not in columns[0]]
        if len(old) != len(new):
            notes.append(f"{len(old)} rows became {len(new)}")
        else:
            for column in (column for column in columns[0] if column in columns[1]):
                one, other = ([row[column] for row in rows] for rows in (old, new))
                if one != other:
                    notes.append(f"{column}: {difference(one, other)}")
        same &= not notes
        print(f"{name}: {'; '.join(notes) or 'equal'}")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
