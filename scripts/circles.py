#!/usr/bin/env python3
"""Circles of imports between the modules of each crate. Prints each with the lines that make it; exits 1 if there is one.

With names of crates as arguments it looks at those alone.

Two modules are compared where they are siblings: a folder counts with all that lies in it. What a parent re-exports counts
as its child's, so that `use super::Name` leads to where `Name` is defined. Tests are left out.
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PATH = re.compile(r"(?<![\w:.'])((?:[A-Za-z_]\w*\s*::\s*)+[A-Za-z_]\w*)")
USE = re.compile(r"\buse\s+([^;]+);")
BLANK = re.compile(
    r"""//[^\n]*|/\*.*?\*/|b?r(\#*)".*?"\1|b?"(?:\\.|[^"\\])*"|b?'(?:\\[^u]|\\u\{\w+\}|[^'\\])'""", re.S
)


def spaces(match):
    return re.sub(r"[^\n]", " ", match.group())


def code(text):
    """The text without comments, literals and tests; lines stay where they are."""
    text = BLANK.sub(spaces, text)
    for match in reversed(list(re.finditer(r"#\[cfg\((?:test|all\(test)[^\n]*\n(?:\s*#\[[^\n]*\n)*", text))):
        end, depth = match.end(), 0
        while end < len(text):
            depth += {"{": 1, "}": -1}.get(text[end], 0)
            end += 1
            if depth == 0 and text[end - 1] in ";}":
                break
        gone = re.sub(r"[^\n]", " ", text[match.start() : end])
        text = text[: match.start()] + gone + text[end:]
    return text


def branches(tree):
    """The paths of a use tree as (segments, name)."""
    tree = tree.strip()
    if tree.endswith("}"):
        stem, inside = tree[:-1].split("{", 1)
        stem = [part.strip() for part in stem.split("::") if part.strip()]
        depth, start, parts = 0, 0, []
        for at, c in enumerate(inside + ","):
            depth += {"{": 1, "}": -1}.get(c, 0)
            if c == "," and depth == 0:
                parts.append(inside[start:at])
                start = at + 1
        return [(stem + path, name) for part in parts if part.strip() for path, name in branches(part)]
    path, _, name = tree.partition(" as ")
    path = [part.strip() for part in path.split("::")]
    if path[-1] == "self":
        path.pop()
    return [(path, name.strip() or (path[-1] if path else ""))]


class Crate:
    def __init__(self, folder):
        self.folder = folder
        self.files = {}  # module path (a tuple) -> file
        for file in sorted((folder / "src").rglob("*.rs")):
            parts = file.relative_to(folder / "src").with_suffix("").parts
            if parts[-1] == "mod" or parts in (("lib",), ("main",)):
                parts = parts[:-1]
            self.files[parts] = file
        self.texts = {module: code(file.read_text()) for module, file in self.files.items()}
        self.names = {module: self.bindings(module) for module in self.files}

    def bindings(self, module):
        """The names that `use` brings into a module, with their paths; those of globs under `*`."""
        names = {"*": []}
        for match in USE.finditer(self.texts[module]):
            for path, name in branches(match.group(1)):
                if path and path[-1] == "*":
                    names["*"].append(path[:-1])
                elif name != "_":
                    names[name] = path
        return names

    def home(self, module, path, seen=frozenset()):
        """The module in which the item of a path is defined, seen from `module`; none outside the crate."""
        if (module, tuple(path)) in seen:
            return None
        seen = seen | {(module, tuple(path))}
        first, rest = path[0], path[1:]
        if first == "crate":
            at = ()
        elif first == "self":
            at = module
        elif first == "super":
            at = module[:-1]
            while rest and rest[0] == "super":
                at, rest = at[:-1], rest[1:]
        elif module + (first,) in self.files:
            at = module + (first,)
        elif first in self.names[module]:
            bound = self.names[module][first]
            return None if bound == path else self.home(module, bound + rest, seen)
        else:
            return None
        while rest and at + (rest[0],) in self.files:
            at, rest = at + (rest[0],), rest[1:]
        if rest and rest[0] != "*":
            names = self.names.get(at, {"*": []})
            if rest[0] in names:
                return self.home(at, names[rest[0]] + rest[1:], seen) or None
            if not re.search(rf"\b(?:fn|struct|enum|trait|type|const|static|union|macro_rules!)\s+{re.escape(rest[0])}\b", self.texts[at]):
                for glob in names["*"]:
                    found = self.home(at, glob + rest, seen)
                    if found is not None and re.search(rf"\b{re.escape(rest[0])}\b", self.texts[found]):
                        return found
        return at

    def imports(self):
        """(module, module it imports, file and line) of the whole crate."""
        for module, text in self.texts.items():
            paths = [(p, m.start()) for m in USE.finditer(text) for p, _ in branches(m.group(1)) if p]
            plain = USE.sub(spaces, text)
            paths += [(re.split(r"\s*::\s*", m.group(1)), m.start()) for m in PATH.finditer(plain)]
            for path, at in paths:
                home = self.home(module, path)
                if home is not None and home != module:
                    line = text.count("\n", 0, at) + 1
                    yield module, home, f"{self.files[module].relative_to(ROOT)}:{line}: {'::'.join(path)}"


def shortest_circle(edges, start):
    """The shortest way from a module back to itself; none where there is none."""
    ways, seen = [[start]], set()
    for way in ways:
        for target in sorted(edges.get(way[-1], ())):
            if target == start:
                return way + [start]
            if target not in seen:
                seen.add(target)
                ways.append(way + [target])
    return None


def circles(crate):
    """The shortest circle of each module that stands in one, told once, as a list of (from, to, evidence)."""
    levels = {}
    for source, target, line in crate.imports():
        common = 0
        while common < min(len(source), len(target)) and source[common] == target[common]:
            common += 1
        if common < min(len(source), len(target)):
            edges = levels.setdefault(source[:common], {}).setdefault(source[: common + 1], {})
            edges.setdefault(target[: common + 1], []).append(line)
    told = set()
    for edges in levels.values():
        for module in sorted(edges):
            way = shortest_circle(edges, module)
            if way and frozenset(way) not in told:
                told.add(frozenset(way))
                yield [(a, b, edges[a][b]) for a, b in zip(way, way[1:])]


def main():
    found = 0
    for manifest in sorted(ROOT.glob("crates/*/Cargo.toml")):
        if sys.argv[1:] and manifest.parent.name not in sys.argv[1:]:
            continue
        crate = Crate(manifest.parent)
        for circle in circles(crate):
            found += 1
            names = ["::".join(a) for a, _, _ in circle] + ["::".join(circle[0][0])]
            print(f"{manifest.parent.name}: {' -> '.join(names)}")
            for _, _, lines in circle:
                print(f"    {lines[0]}" + (f" (and {len(lines) - 1} more)" if len(lines) > 1 else ""))
    print(f"{found} circles of imports" if found else "no circles of imports")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
