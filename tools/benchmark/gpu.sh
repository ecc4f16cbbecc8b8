#!/usr/bin/env bash
# Every figure of docs/benchmarks.md that needs a GPU, in one command; options are those of gpu.py:
#   tools/benchmark/gpu.sh
#   tools/benchmark/gpu.sh --encoders vit_b --batches 512
#   tools/benchmark/gpu.sh --rehearse --batches 2 --rounds 1 --warmup 1     # tiny, without a GPU
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../environment.sh"
exec "$PYTHON" -W ignore "$ROOT/tools/benchmark/gpu.py" "$@"
