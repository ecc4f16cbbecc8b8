#!/usr/bin/env bash
# Trains under Slurm: tools/slurm_train.sh PARTITION JOB_NAME CONFIG WORK_DIR [options of tools/train.py]
# Environment: GPUS (8), GPUS_PER_NODE (8), CPUS_PER_TASK (12), GRES (gpu:GPUS_PER_NODE; none for
# nodes without GPUs), SRUN_ARGS.
# At the time limit a run saves, and is requeued (inside sbatch: give --resume among the options,
# #SBATCH --requeue and #SBATCH --signal=USR1@120) or asked for again. A run that is cancelled saves,
# too, and is left alone.
set -euo pipefail
[ $# -ge 4 ] || { echo "usage: $0 PARTITION JOB_NAME CONFIG WORK_DIR [options of tools/train.py]" >&2; exit 2; }
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
PARTITION=$1 JOB_NAME=$2 CONFIG=$3 WORK_DIR=$4
GPUS=${GPUS:-8}
GPUS_PER_NODE=${GPUS_PER_NODE:-8}
[ "$GPUS_PER_NODE" -le "$GPUS" ] || GPUS_PER_NODE=$GPUS
# Code 85 means: asked to stop, saved, to be continued. WORK_DIR/stopped_by says by which signal: the
# time limit sends SIGUSR1, scancel SIGTERM.
run() {
    # shellcheck disable=SC2086
    srun --partition="$PARTITION" --job-name="$JOB_NAME" --gres="${GRES:-gpu:$GPUS_PER_NODE}" \
        --ntasks="$GPUS" --ntasks-per-node="$GPUS_PER_NODE" \
        --cpus-per-task="${CPUS_PER_TASK:-12}" --kill-on-bad-exit=1 --signal=USR1@120 \
        ${SRUN_ARGS:-} "$PYTHON" -u "$ROOT/tools/train.py" "$CONFIG" --work-dir "$WORK_DIR" \
        --launcher slurm "$@"
}
code=0
run "${@:5}" || code=$?
while [ "$code" -eq 85 ]; do
    if [ "$(cat "$WORK_DIR/stopped_by" 2>/dev/null || echo SIGUSR1)" != SIGUSR1 ]; then
        echo "cancelled: saved in $WORK_DIR, and not started again; go on with --resume" >&2
        exit "$code"
    fi
    if [ -n "${SLURM_JOB_ID:-}" ]; then
        # Inside sbatch: the same script starts again, and finds its checkpoint by itself.
        exec scontrol requeue "$SLURM_JOB_ID"
    fi
    code=0
    run "${@:5}" --resume || code=$?
done
exit "$code"
