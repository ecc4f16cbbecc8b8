#!/usr/bin/env bash
# Every figure of docs/benchmarks.md that needs a GPU, in one command:
#   tools/benchmark/gpu.sh [FOLDER FOR THE LOGS, default work_dirs/gpu]
# Environment: DEVICE (cuda), BATCHES ("64 128 256 512 1024"), ROUNDS (20). The precision is bfloat16
# on both sides, attention is PyTorch's, no data is loaded.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../environment.sh"
OUT=${1:-work_dirs/gpu} DEVICE=${DEVICE:-cuda} ROUNDS=${ROUNDS:-20}
mkdir -p "$OUT"
step() {
    local log=$OUT/$1.txt
    shift
    echo "+ step.py $*"
    "$PYTHON" -W ignore "$ROOT/tools/benchmark/step.py" --device "$DEVICE" --amp "$@" | tee "$log"
}
for batch in ${BATCHES:-64 128 256 512 1024}; do
    for encoder in ${ENCODERS:-vit_b vit_s swin_b}; do
        step "${encoder}_$batch" --encoder "$encoder" --batch "$batch" --rounds "$ROUNDS"
        step "${encoder}_${batch}_compiled" --encoder "$encoder" --batch "$batch" \
            --rounds "$ROUNDS" --compile
    done
    step "memory_$batch" --memory --batch "$batch"
    step "memory_${batch}_with_cp" --memory --batch "$batch" \
        --cfg-options model.backbone.with_cp=True
done
