#!/usr/bin/env bash
# Trains on the GPUs of this machine (on that many CPU processes where there is none):
#   tools/dist_train.sh CONFIG GPUS [options of tools/train.py]
# Several machines: NNODES, NODE_RANK, MASTER_ADDR, PORT.
set -euo pipefail
[ $# -ge 2 ] || { echo "usage: $0 CONFIG GPUS [options of tools/train.py]" >&2; exit 2; }
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
CONFIG=$1 GPUS=$2
launch "$ROOT/tools/train.py" "$CONFIG" "${@:3}"
