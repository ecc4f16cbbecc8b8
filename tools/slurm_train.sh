#!/usr/bin/env bash
# Trains under Slurm: tools/slurm_train.sh PARTITION JOB_NAME CONFIG WORK_DIR [options of tools/train.py]
# Environment: GPUS (8), GPUS_PER_NODE (8), CPUS_PER_TASK (12), GRES (gpu:GPUS_PER_NODE; none for
# nodes without GPUs), SRUN_ARGS.
# It waits for the nodes, and asks again for them when the run has saved at the time limit. A run that is cancelled saves,
# too, and is left alone. To submit a job instead, use tools/slurm_job.sh.
set -euo pipefail
[ $# -ge 4 ] || { echo "usage: $0 PARTITION JOB_NAME CONFIG WORK_DIR [options of tools/train.py]" >&2; exit 2; }
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
PARTITION=$1 JOB_NAME=$2 CONFIG=$3 WORK_DIR=$4
GPUS=${GPUS:-8}
GPUS_PER_NODE=${GPUS_PER_NODE:-8}
[ "$GPUS_PER_NODE" -le "$GPUS" ] || GPUS_PER_NODE=$GPUS
run() {
    # shellcheck disable=SC2086
    run_step "$WORK_DIR" srun --partition="$PARTITION" --job-name="$JOB_NAME" --gres="${GRES:-gpu:$GPUS_PER_NODE}" \
        --ntasks="$GPUS" --ntasks-per-node="$GPUS_PER_NODE" \
        --cpus-per-task="${CPUS_PER_TASK:-12}" --kill-on-bad-exit=1 --signal=USR1@120 \
        ${SRUN_ARGS:-} "$PYTHON" -u "$ROOT/tools/train.py" "$CONFIG" --work-dir "$WORK_DIR" \
        --launcher slurm "$@"
}
code=0
run "${@:5}" || code=$?
while [ "$code" -eq 85 ]; do
    comes_back "$WORK_DIR" || exit "$code"
    if [ -n "${SLURM_JOB_ID:-}" ]; then
        # Inside a script for sbatch, which needs #SBATCH --requeue, #SBATCH --signal=USR1@120 (on srun it does nothing
        # there) and --resume among the options: the same script starts again.
        exec scontrol requeue "$SLURM_JOB_ID"
    fi
    code=0
    run "${@:5}" --resume || code=$?
done
exit "$code"
