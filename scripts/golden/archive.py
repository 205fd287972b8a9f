"""Protected archives both ways: strait's read by easy-dataset-share, easy-dataset-share's read by strait.

usage: archive.py STRAIT

STRAIT is the binary, as in target/debug/strait. Needs easy-dataset-share 0.5.0. Works in a temporary folder and leaves
nothing behind; prints a line for each check and stops at the first that fails.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from easy_dataset_share.zipping import unzip_and_decrypt, zip_and_password_protect

PASSWORD = "open sesame, ünlocked"
FILES = {
    "plain.jsonl": b'{"messages": [{"role": "user", "content": "Why tea?"}, {"role": "assistant", "content": "It is warm."}]}\n',
    "empty.txt": b"",
    "more/naïve name.csv": b"a,b\n1,2\n" * 5000,
    "more/deep/bytes.bin": bytes(range(256)) * 300,
}


def strait(binary, *arguments, password=PASSWORD):
    """Runs the binary and gives its exit code and the object that it printed."""
    environment = os.environ | {"ROWS_PASSWORD": password}
    command = [binary, "data", *map(str, arguments), "--password-env", "ROWS_PASSWORD", "--json"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    return done.returncode, json.loads(done.stdout)


def contents(folder):
    """Every file below a folder, by its name there."""
    files = (path for path in Path(folder).rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def check(what, holds):
    print(f"{'ok' if holds else 'FAILED'}: {what}")
    if not holds:
        sys.exit(1)


def refuses(call):
    try:
        call()
    except ValueError:
        return True
    return False


def main(binary):
    binary = str(Path(binary).resolve())
    with tempfile.TemporaryDirectory() as place:
        place = Path(place)
        rows = place / "rows"
        for name, content in FILES.items():
            (rows / name).parent.mkdir(parents=True, exist_ok=True)
            (rows / name).write_bytes(content)

        ours = place / "ours.zip.enc"
        code, made = strait(binary, "protect", rows, "--out", ours)
        check("strait protects a folder", code == 0 and made["members"] == sorted(f"rows/{name}" for name in FILES))
        unzip_and_decrypt(str(ours), PASSWORD, str(place / "theirs-of-ours"))
        check("easy-dataset-share reads it", contents(place / "theirs-of-ours" / "rows") == FILES)
        code, _ = strait(binary, "unprotect", ours, "--out", place / "ours-of-ours")
        check("strait reads it", code == 0 and contents(place / "ours-of-ours" / "rows") == FILES)

        theirs = Path(zip_and_password_protect(str(rows), PASSWORD, str(place / "theirs.zip")))
        code, _ = strait(binary, "unprotect", theirs, "--out", place / "ours-of-theirs")
        check("strait reads easy-dataset-share's", code == 0 and contents(place / "ours-of-theirs") == FILES)
        code, seen = strait(binary, "inspect", f"{theirs}:plain.jsonl")
        check("strait reads a member of it", code == 0 and seen["rows"] == 1)

        half = place / "half.zip.enc"
        half.write_bytes(ours.read_bytes()[: ours.stat().st_size // 2])
        for archive, password, what in [(half, PASSWORD, "half an archive"), (ours, "wrong", "a wrong password")]:
            out = place / "nothing"
            code, said = strait(binary, "unprotect", archive, "--out", out, password=password)
            check(f"strait refuses {what} with a hint", code == 1 and "hint" in json.dumps(said) and not out.exists())
            refused = refuses(lambda: unzip_and_decrypt(str(archive), password, str(out)))
            check(f"easy-dataset-share refuses {what}", refused)
        code, _ = strait(binary, "protect", ours, "--out", ours)
        check("strait does not write an archive over itself", code == 1)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
