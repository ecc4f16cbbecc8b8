"""Commands as users start them: in processes of their own, from the root of the repository."""
import contextlib
import importlib.util
import io
import os
import socket
import subprocess
import sys
from pathlib import Path
from unittest import mock

from mmwamim.commands.main import main

ROOT = Path(__file__).resolve().parents[2]
QUICK = 'configs/quickstart/vit_tiny_pretrain.py'
SERIAL = [f'{name}_dataloader.{field}' for name in ('train', 'val')
          for field in ('num_workers=0', 'persistent_workers=False')]


def run(*command, cwd=ROOT, **environment):
    environment = {**os.environ, 'PYTHON': sys.executable, 'PYTHONPATH': str(ROOT),
                   'OMP_NUM_THREADS': '1', **environment}
    done = subprocess.run([str(part) for part in command], cwd=cwd, env=environment, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=300)
    return done.returncode, done.stdout


def run_here(script, *arguments):
    """What :func:`run` gives for a script of ``tools/``, in this process: importing torch anew
    takes seconds."""
    printed, code, before = io.StringIO(), 0, os.getcwd()
    os.chdir(ROOT)
    try:
        with mock.patch.object(sys, 'argv', [script, *map(str, arguments)]), \
                contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            load_tool(script).main()
    except SystemExit as stop:
        code = stop.code
    finally:
        os.chdir(before)
    if isinstance(code, str):
        return 1, f'{printed.getvalue()}{code}\n'
    return code, printed.getvalue()


def call(capsys, *words):
    """``mmwamim WORDS`` in this process: its exit code, or the line it ended with, and output."""
    code = 0
    try:
        main([str(word) for word in words])
    except SystemExit as stop:
        code = stop.code
    return code, capsys.readouterr().out


def load_tool(path):
    spec = importlib.util.spec_from_file_location(Path(path).stem + '_tool', ROOT / path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def free_port():
    with socket.socket() as found:
        found.bind(('127.0.0.1', 0))
        return str(found.getsockname()[1])
