#!/usr/bin/env bash
# Checks that the build for NVIDIA GPUs compiles, where CUDA's compiler is not installed: all Rust code is checked as it is, and
# an empty file stands for each of candle's kernels, in a folder of its own, so that no build finds them. Where there is a real
# nvcc, `cargo build --features cuda` says more.
set -euo pipefail
cd "$(dirname "$0")/.."

tools=$(mktemp -d)
trap 'rm -rf "$tools"' EXIT
cat >"$tools/nvcc" <<'NVCC'
#!/usr/bin/env bash
set -euo pipefail
for argument in "$@"; do
    case $argument in
    --version) printf '%s\n' "stand-in for nvcc" "" "" "Cuda compilation tools, release 12.9, V12.9.0" && exit ;;
    --list-gpu-code) echo sm_80 && exit ;;
    esac
done
source=${!#}
while [ $# -gt 0 ]; do
    case $1 in
    -o) touch "$2" ;;
    --output-directory) touch "$2/$(basename "${source%.cu}").ptx" ;;
    esac
    shift
done
NVCC
chmod +x "$tools/nvcc"

PATH=$tools:$PATH NVCC=$tools/nvcc CUDA_HOME=$tools CUDA_COMPUTE_CAP=80 \
    cargo clippy --target-dir target/check-cuda --package strait-cli --features cuda --locked -- --deny warnings
