#!/usr/bin/env bash
# Evaluates on the GPUs of this machine:
#   tools/dist_test.sh CONFIG CHECKPOINT GPUS [options of tools/test.py]
# Several machines: NNODES, NODE_RANK, MASTER_ADDR, PORT.
set -euo pipefail
[ $# -ge 3 ] || { echo "usage: $0 CONFIG CHECKPOINT GPUS [options of tools/test.py]" >&2; exit 2; }
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
CONFIG=$1 CHECKPOINT=$2 GPUS=$3
launch "$ROOT/tools/test.py" "$CONFIG" "$CHECKPOINT" "${@:4}"
