"""tools/dist_train.sh: ports, signals and exit codes."""
import importlib.util
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time

import pytest

from mmwamim.errors import PREEMPTED
from tests.faults.kill_and_resume import alive
from tests.support.commands import ROOT


@pytest.fixture(scope='module')
def starter():
    spec = importlib.util.spec_from_file_location('starter', ROOT / 'tools/start_processes.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def taken():
    with socket.socket() as busy:
        busy.bind(('', 0))
        busy.listen()
        yield busy.getsockname()[1]


def test_one_machine_takes_a_free_port(starter, taken, capsys):
    assert starter.choose_port(1, 0, '') != 29500
    chosen = starter.choose_port(1, 0, str(taken))
    assert chosen != taken and starter.is_free(chosen)
    assert f'port {taken} is in use: taking {chosen}' in capsys.readouterr().out
    assert starter.choose_port(1, 0, str(chosen)) == chosen


def test_several_machines_are_told_which_variable_to_set(starter, taken):
    with pytest.raises(SystemExit, match=f'port {taken} of this machine is in use: set PORT'):
        starter.choose_port(2, 0, str(taken))
    assert starter.choose_port(2, 1, str(taken)) == taken  # the first machine listens
    with pytest.raises(SystemExit, match="PORT must be a number, not 'x'"):
        starter.choose_port(1, 0, 'x')


def test_nobody_trains_on_when_the_launcher_is_killed(tmp_path):
    script = tmp_path / 'script.py'
    script.write_text(textwrap.dedent(f'''
        import os, time
        from pathlib import Path
        from mmwamim.engine.distributed import settle_launcher
        settle_launcher('pytorch')
        Path({str(tmp_path)!r}, 'pid').write_text(str(os.getpid()))
        time.sleep(300)
    '''))
    command = [sys.executable, ROOT / 'tools/start_processes.py', '1', script]
    started = subprocess.Popen([str(part) for part in command],
                               env={**os.environ, 'PYTHONPATH': str(ROOT)})
    file = tmp_path / 'pid'
    while not (file.exists() and file.read_text()):
        assert started.poll() is None
        time.sleep(0.1)
    worker = int(file.read_text())
    assert alive(worker)
    started.kill()
    started.wait()
    for _ in range(100):
        if not alive(worker):
            break
        time.sleep(0.1)
    assert not alive(worker)


def test_signals_reach_the_processes_and_their_code_comes_back(tmp_path):
    script = tmp_path / 'script.py'
    script.write_text(textwrap.dedent(f'''
        import os, signal, sys, time
        from pathlib import Path
        from mmwamim.errors import Preempted, told_in_one_line

        @told_in_one_line()
        def main():
            asked = []
            signal.signal(signal.SIGUSR1, lambda number, frame: asked.append(number))
            Path({str(tmp_path)!r}, os.environ['RANK']).touch()
            while not asked:
                time.sleep(0.01)
            raise Preempted('x.pth')

        main()
    '''))
    command = [sys.executable, ROOT / 'tools/start_processes.py', '2', script]
    started = subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, text=True,
                               env={**os.environ, 'PYTHONPATH': str(ROOT)})
    while not all((tmp_path / rank).exists() for rank in '01'):
        assert started.poll() is None, started.communicate()
        time.sleep(0.05)
    started.send_signal(signal.SIGUSR1)
    output, _ = started.communicate(timeout=60)
    assert started.returncode == PREEMPTED and 'Traceback' not in output, output
