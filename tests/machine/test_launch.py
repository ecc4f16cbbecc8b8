"""Several processes of one machine: ports, signals and exit codes."""
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time

import pytest

from mmwamim.errors import PREEMPTED, UserError
from mmwamim.machine.launch import choose_port, is_free, run_processes
from tests.faults.kill_and_resume import alive
from tests.support.commands import ROOT, run


@pytest.fixture
def taken():
    with socket.socket() as busy:
        busy.bind(('', 0))
        busy.listen()
        yield busy.getsockname()[1]


def test_one_machine_takes_a_free_port(taken, capsys):
    assert choose_port(1, 0, '') != 29500
    chosen = choose_port(1, 0, str(taken))
    assert chosen != taken and is_free(chosen)
    assert f'port {taken} is in use: taking {chosen}' in capsys.readouterr().out
    assert choose_port(1, 0, str(chosen)) == chosen


def test_several_machines_are_told_which_variable_to_set(taken):
    with pytest.raises(UserError, match=f'port {taken} of this machine is in use: set PORT'):
        choose_port(2, 0, str(taken))
    assert choose_port(2, 1, str(taken)) == taken  # the first machine listens
    with pytest.raises(UserError, match="PORT must be a number, not 'x'"):
        choose_port(1, 0, 'x')


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


def script(folder, text):
    path = folder / 'script.py'
    path.write_text(textwrap.dedent(text))
    return path


def test_the_code_of_the_first_that_fails_comes_back(tmp_path, capfd):
    """A mistake that all of them find is printed once, and without torchrun's report."""
    words = [script(tmp_path, '''
        from mmwamim.errors import UserError, told_in_one_line

        @told_in_one_line()
        def main():
            raise UserError('the same for all')

        main()
    ''')]
    assert run_processes(2, words) == 1
    told = ''.join(capfd.readouterr())
    assert told.count('the same for all') == 1 and 'Traceback' not in told, told
    assert run_processes(1, [script(tmp_path, '''
        import os, signal
        os.kill(os.getpid(), signal.SIGKILL)
    ''')]) == 128 + signal.SIGKILL
    assert 'error: process 0 was ended by SIGKILL' in ''.join(capfd.readouterr())


def test_ctrl_c_ends_them_all(tmp_path):
    words = [script(tmp_path, f'''
        import os, time
        from pathlib import Path
        Path({str(tmp_path)!r}, 'pid').write_text(str(os.getpid()))
        time.sleep(300)
    ''')]
    file = tmp_path / 'pid'

    def press():
        while not (file.exists() and file.read_text()):
            time.sleep(0.1)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=press, daemon=True).start()
    handler = signal.getsignal(signal.SIGTERM)
    # A shell's background processes, which the tests may be one of, ignore the signal.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            run_processes(1, words)
    finally:
        signal.signal(signal.SIGINT, before)
    assert not alive(int(file.read_text())) and signal.getsignal(signal.SIGTERM) is handler


@pytest.mark.parametrize('given, found', [({}, 'PASSIVE'), ({'OMP_WAIT_POLICY': 'ACTIVE'},
                                                            'ACTIVE')])
def test_threads_that_share_cores_do_not_spin(given, found, monkeypatch):
    monkeypatch.delenv('OMP_WAIT_POLICY', raising=False)
    code, said = run('bash', '-c', '. tools/environment.sh; echo $OMP_WAIT_POLICY', **given)
    assert (code, said.strip()) == (0, found)
