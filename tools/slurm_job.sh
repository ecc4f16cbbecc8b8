#!/usr/bin/env bash
# A batch job of Slurm that trains until it is done, over as many time limits as that takes:
#   sbatch [options of sbatch] tools/slurm_job.sh CONFIG [options of tools/train.py]
# Below are the defaults; options of sbatch go before them: --time=24:00:00, --partition=NAME, --nodes=2 (several nodes,
# each with what is below), --gres=none (nodes without GPUs). ntasks-per-node is the number of GPUs of a node.
# Two minutes before the time limit, and when the job must make room, the run saves, and the job is requeued and goes on;
# scancel ends it (saved, too).
# SRUN_ARGS is handed on to srun, PYTHON names the interpreter.
#SBATCH --job-name=mmwamim
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=8
#SBATCH --gres=gpu:8
#SBATCH --cpus-per-task=12
#SBATCH --signal=USR1@120
#SBATCH --requeue
#SBATCH --open-mode=append
set -euo pipefail
if [ $# -lt 1 ] || [ -z "${SLURM_JOB_ID:-}" ]; then
    echo "usage: sbatch [options of sbatch] tools/slurm_job.sh CONFIG [options of tools/train.py]" >&2
    exit 2
fi
# Slurm runs a copy of this file: the repository is where the file was, or where the job was submitted from.
TOOLS=$(scontrol show job "$SLURM_JOB_ID" | sed -n 's|^ *Command=\(.*\)/slurm_job\.sh\( .*\)\{0,1\}$|\1|p')
[ -f "${TOOLS:-}/environment.sh" ] || TOOLS=${SLURM_SUBMIT_DIR:-.}/tools
if [ ! -f "$TOOLS/environment.sh" ]; then
    echo "error: there is no $TOOLS/environment.sh: submit tools/slurm_job.sh from the root of the repository" >&2
    exit 1
fi
source "$TOOLS/environment.sh"

CONFIG=$1 WORK_DIR=work_dirs/$(basename "$1" .py)
for ((i = 2; i <= $#; i++)); do
    case ${!i} in
        --work-dir) next=$((i + 1)); WORK_DIR=${!next:-} ;;
        --work-dir=*) WORK_DIR=${!i#--work-dir=} ;;
    esac
done
# A job that was started again goes on with its last checkpoint, whatever the first start was told.
again=()
[ "${SLURM_RESTART_COUNT:-0}" -eq 0 ] || again=(--resume)
code=0
# srun takes the number of CPUs from here alone: it does not look at the job's since Slurm 22.05.
# shellcheck disable=SC2086
run_step "$WORK_DIR" srun --cpus-per-task="${SLURM_CPUS_PER_TASK:-1}" --kill-on-bad-exit=1 ${SRUN_ARGS:-} \
    "$PYTHON" -u "$ROOT/tools/train.py" "$CONFIG" --work-dir "$WORK_DIR" --launcher slurm --resume "${@:2}" \
    "${again[@]}" || code=$?
[ "$code" -eq 85 ] || exit "$code"
comes_back "$WORK_DIR" || exit "$code"
exec scontrol requeue "$SLURM_JOB_ID"
