"""Commands as users start them: in processes of their own, from the root of the repository."""
import importlib.util
import os
import socket
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
QUICK = 'configs/quickstart/vit_tiny_pretrain.py'
SERIAL = [f'{name}_dataloader.{field}' for name in ('train', 'val')
          for field in ('num_workers=0', 'persistent_workers=False')]
# Several commands of tools/train.py in one process, which saves importing torch each time.
SEVERAL = '''
import json, runpy, sys
for arguments in json.loads(sys.argv[1]):
    sys.argv = ['tools/train.py', *arguments]
    runpy.run_path('tools/train.py', run_name='__main__')
'''


def run(*command, cwd=ROOT, **environment):
    environment = {**os.environ, 'PYTHON': sys.executable, 'PYTHONPATH': str(ROOT),
                   'OMP_NUM_THREADS': '1', **environment}
    done = subprocess.run([str(part) for part in command], cwd=cwd, env=environment, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=300)
    return done.returncode, done.stdout


def load_tool(path):
    spec = importlib.util.spec_from_file_location(Path(path).stem + '_tool', ROOT / path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def free_port():
    with socket.socket() as found:
        found.bind(('127.0.0.1', 0))
        return str(found.getsockname()[1])
