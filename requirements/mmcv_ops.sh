#!/usr/bin/env bash
# Installs mmcv with its compiled ops into the environment of the given Python. The build takes
# 5 to 10 minutes on 2 cores, so its wheel is kept in a cache of our own, keyed by Python, torch
# and CUDA version: pip's own cache would hand out the pure-Python wheel instead.
# Usage: requirements/mmcv_ops.sh .venv/bin/python
set -euo pipefail
python=${1:?usage: requirements/mmcv_ops.sh PYTHON}
version=2.3.6

if "$python" -c 'import mmcv._ext' 2>/dev/null; then
    exit 0
fi
key=$("$python" - <<'PY'
import sys
import torch
from torch.utils.cpp_extension import CUDA_HOME
cuda = f'cu{torch.version.cuda}' if torch.cuda.is_available() and CUDA_HOME else 'cpu'
print(f'cp{sys.version_info[0]}{sys.version_info[1]}-torch{torch.__version__}-{cuda}')
PY
)
cache="${XDG_CACHE_HOME:-$HOME/.cache}/mmwamim/wheels/$key"
mkdir -p "$cache"
wheel=$(find "$cache" -name "onedl_mmcv-$version-*.whl" | head -n 1)
if [ -z "$wheel" ]; then
    echo "Compiling the mmcv ops (5 to 10 minutes on 2 cores, once; kept in $cache)"
    build=$(mktemp -d "$cache/build.XXXXXX")
    trap 'rm -rf "$build"' EXIT
    # As Python's own flags, but for the debug symbols, which take half of the time.
    export CFLAGS="${CFLAGS:--O3 -DNDEBUG -fwrapv -g0}"
    PATH="$(cd "$(dirname "$python")" && pwd):$PATH" MMCV_WITH_OPS=1 MAX_JOBS="${MAX_JOBS:-$(nproc)}" \
        "$python" -m pip wheel --quiet --no-deps --no-build-isolation --no-cache-dir \
        --wheel-dir "$build" "onedl-mmcv==$version" &
    job=$!
    started=$SECONDS
    while kill -0 "$job" 2>/dev/null; do
        sleep 10
        if (( (SECONDS - started) % 60 < 10 )); then
            echo "  compiling for $(( (SECONDS - started) / 60 )) min"
        fi
    done
    wait "$job"
    # Moved only when whole, so that a build cut off leaves nothing that looks like a wheel.
    mv "$build"/*.whl "$cache/"
    wheel=$(find "$cache" -name "onedl_mmcv-$version-*.whl" | head -n 1)
fi
"$python" -m pip install --quiet --no-deps --force-reinstall "$wheel"
"$python" -c 'import mmcv._ext'
