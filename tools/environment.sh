# Sourced by the other scripts: which Python, and where the repository is.
ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
if [ -z "${PYTHON:-}" ]; then
    # An active environment comes first, then the one that `make` set up here.
    if [ -z "${VIRTUAL_ENV:-}${CONDA_PREFIX:-}" ] && [ -x "$ROOT/.venv/bin/python" ]; then
        PYTHON="$ROOT/.venv/bin/python"
    else
        PYTHON=python
    fi
fi
# Threads of processes that share the cores of a CPU must not spin while they wait for each other.
export OMP_WAIT_POLICY="${OMP_WAIT_POLICY:-PASSIVE}"
export PYTHONPATH="$ROOT${PYTHONPATH:+:$PYTHONPATH}"

# One line and an exit where this machine has GPUs, but fewer than $1. Without any GPU the
# processes run on the CPU and share its cores.
check_devices() {
    local gpus
    gpus=$("$PYTHON" -c 'import torch; print(torch.cuda.device_count())') || exit 1
    if [ "$gpus" -gt 0 ] && [ "$1" -gt "$gpus" ]; then
        echo "error: $1 GPUs were asked for, but this machine has $gpus" >&2
        exit 1
    fi
    if [ "$gpus" -eq 0 ]; then
        echo "no GPU found: $1 CPU process(es) with gloo"
        local most=$(( $(nproc) > 8 ? $(nproc) : 8 ))
        if [ "$1" -gt "$most" ]; then
            echo "error: this machine has no GPU, and $(nproc) cores: $most processes at most, not $1" >&2
            exit 1
        fi
        local share=$(( $(nproc) / $1 ))
        export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$(( share > 0 ? share : 1 ))}
    else
        export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
    fi
}

# Starts $1 (a script) with the arguments that follow, on GPUS processes of this machine.
launch() {
    case "${GPUS:-}" in
        ''|*[!0-9]*|0) echo "error: the number of GPUs must be a positive integer, not '${GPUS:-}'" >&2; exit 1 ;;
    esac
    check_devices "$GPUS"
    exec "$PYTHON" "$ROOT/tools/start_processes.py" "$GPUS" "$@"
}

# Runs a command, srun with the processes of a run in the work directory $1. Its exit code is 85 if the run was asked to
# stop and has saved. What the run has written there counts: --kill-on-bad-exit may kill a process that leaves a moment
# after the first one, and srun says 143 or 137 then.
run_step() {
    local note=$1/stopped_by before code=0
    before=$(stat --format='%i %y' "$note" 2>/dev/null) || true
    "${@:2}" || code=$?
    if [ "$code" -ne 0 ] && [ -f "$note" ] && [ "$(stat --format='%i %y' "$note")" != "$before" ]; then
        code=85
    fi
    return "$code"
}

# Whether the run of the work directory $1 was stopped by the time limit (SIGUSR1) or for a job that goes first, and not by
# scancel (both SIGTERM). Slurm itself does not requeue a job that ends within the time it is granted to make room.
comes_back() {
    [ "$(cat "$1/stopped_by" 2>/dev/null || echo SIGUSR1)" != SIGUSR1 ] || return 0
    if [ -n "${SLURM_JOB_ID:-}" ]; then
        case $(scontrol show job "$SLURM_JOB_ID") in *PreemptTime=[0-9]*) return 0 ;; esac
    fi
    echo "cancelled: saved in $1, and not started again; go on with --resume" >&2
    return 1
}
