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
