#!/usr/bin/env bash
# Trains under Slurm: tools/slurm_train.sh PARTITION JOB_NAME CONFIG WORK_DIR [options of tools/train.py]
# Environment: GPUS (8), GPUS_PER_NODE (8), CPUS_PER_TASK (12), SRUN_ARGS.
# A run that is asked to stop saves, and is requeued (inside sbatch: give --resume among the options
# and #SBATCH --requeue) or asked for again.
set -euo pipefail
[ $# -ge 4 ] || { echo "usage: $0 PARTITION JOB_NAME CONFIG WORK_DIR [options of tools/train.py]" >&2; exit 2; }
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
PARTITION=$1 JOB_NAME=$2 CONFIG=$3 WORK_DIR=$4
GPUS=${GPUS:-8}
GPUS_PER_NODE=${GPUS_PER_NODE:-8}
[ "$GPUS_PER_NODE" -le "$GPUS" ] || GPUS_PER_NODE=$GPUS
# Code 85 means: asked to stop (SIGTERM, or the time limit's SIGUSR1), saved, to be continued.
run() {
    # shellcheck disable=SC2086
    srun --partition="$PARTITION" --job-name="$JOB_NAME" --gres="gpu:$GPUS_PER_NODE" \
        --ntasks="$GPUS" --ntasks-per-node="$GPUS_PER_NODE" \
        --cpus-per-task="${CPUS_PER_TASK:-12}" --kill-on-bad-exit=1 --signal=USR1@120 \
        ${SRUN_ARGS:-} "$PYTHON" -u "$ROOT/tools/train.py" "$CONFIG" --work-dir "$WORK_DIR" \
        --launcher slurm "$@"
}
code=0
run "${@:5}" || code=$?
while [ "$code" -eq 85 ]; do
    if [ -n "${SLURM_JOB_ID:-}" ]; then
        # Inside sbatch: the same script starts again, and finds its checkpoint by itself.
        exec scontrol requeue "$SLURM_JOB_ID"
    fi
    code=0
    run "${@:5}" --resume || code=$?
done
exit "$code"
