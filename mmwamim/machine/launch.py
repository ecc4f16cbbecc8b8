"""Starts several processes of this machine that train together, and stands in for them.

torchrun does the work (:mod:`mmwamim.machine.agent`). Added are a free port where one machine is all there
is, one line where several machines cannot have theirs, and signals: SIGTERM and SIGUSR1 go to the
processes, which save and stop together, Ctrl-C ends them, and their exit code is what comes back.

This module imports nothing heavy, since it waits for as long as the run takes.
"""
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import Dict, Iterator, List, Optional, Sequence

from mmwamim.errors import UserError, leave_with, told_in_one_line

from .cores import granted_cores

DEFAULT_PORT = 29500
HANDED_ON = (signal.SIGTERM, signal.SIGUSR1)
ROOT = Path(__file__).resolve().parents[2]


def is_free(port: int) -> bool:
    """Whether nobody listens at a port of this machine."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(('', port))
        except OSError:
            return False
    return True


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(('', 0))
        return probe.getsockname()[1]


def choose_port(nodes: int, rank: int, wanted: str) -> int:
    """The port at which the processes meet.

    Args:
        nodes: Machines of the run.
        rank: Of this machine; the first one listens.
        wanted: What PORT says, or nothing.

    Raises:
        UserError: PORT is no number, or in use where several machines have agreed on it.
    """
    if wanted and not wanted.isdigit():
        raise UserError(f'PORT must be a number, not {wanted!r}')
    port = int(wanted or DEFAULT_PORT)
    if nodes == 1:
        if not wanted:
            return free_port()
        if is_free(port):
            return port
        chosen = free_port()
        print(f'port {port} is in use: taking {chosen}', flush=True)
        return chosen
    if rank == 0 and not is_free(port):
        raise UserError(f'port {port} of this machine is in use: set PORT to a free one, the same '
                        'on all machines')
    return port


def children(process: int) -> List[int]:
    """The numbers of a process's children."""
    try:
        return [int(number) for number in
                Path(f'/proc/{process}/task/{process}/children').read_text().split()]
    except OSError:
        return []


def run_processes(processes: int, words: Sequence[str], gpus: bool = False) -> int:
    """Runs a Python program on several processes, and waits for them.

    Args:
        processes: Of this machine. ``NNODES``, ``NODE_RANK``, ``MASTER_ADDR`` and ``PORT`` are
            those of the environment, as of ``tools/dist_train.sh``.
        words: A script and its arguments, or ``-m``, a module and its arguments.
        gpus: Whether each has a GPU; if not, they share the cores.

    Returns:
        The exit code: 0; what the program has said (85: saved, start it again); that of the first
        process that failed; 128 + N where signal N has ended it.

    Raises:
        UserError: The port cannot be had.
        KeyboardInterrupt: After Ctrl-C, when the processes have ended.
    """
    nodes, rank = (int(os.environ.get(name) or default) for name, default in (
        ('NNODES', 1), ('NODE_RANK', 0)))
    port = choose_port(nodes, rank, os.environ.get('PORT', ''))
    command = [sys.executable, '-m', 'mmwamim.machine.agent', str(os.getpid()), f'--nnodes={nodes}',
               f'--node_rank={rank}', f'--nproc_per_node={processes}',
               f'--master_addr={os.environ.get("MASTER_ADDR") or "127.0.0.1"}',
               f'--master_port={port}', *map(str, words)]
    with tempfile.TemporaryDirectory(prefix='processes_') as folder:
        said = Path(folder, 'exit_code')
        environment = _environment(processes, gpus, said)
        code = _wait(command, environment)
        return int(said.read_text()) if said.is_file() else code


def _environment(processes: int, gpus: bool, said: Path) -> Dict[str, str]:
    """That of the processes: they find this package, and share the cores."""
    threads = 1 if gpus else max(granted_cores() // processes, 1)
    paths = [path for path in os.environ.get('PYTHONPATH', '').split(os.pathsep) if path]
    if ROOT.name != 'site-packages' and str(ROOT) not in paths:
        paths.insert(0, str(ROOT))
    shared = {name: os.environ.get('OMP_NUM_THREADS', str(threads))
              for name in ('OMP_NUM_THREADS', 'MKL_NUM_THREADS')}
    if not gpus:  # which share the cores: a thread that waits must not spin
        shared['OMP_WAIT_POLICY'] = 'PASSIVE'
    return {**shared, **os.environ, 'EXIT_CODE_FILE': str(said),
            'PYTHONPATH': os.pathsep.join(paths)}


def _wait(command: List[str], environment: Dict[str, str]) -> int:
    piped = not _is_the_terminal()
    pipes = dict(stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors='replace') \
        if piped else {}
    if piped:
        environment = {**environment, 'PYTHONUNBUFFERED': '1'}
    # A session of its own: Ctrl-C comes here alone, and is handed on once.
    agent = subprocess.Popen(command, env=environment, start_new_session=True, **pipes)
    reader = threading.Thread(target=_hand_out, args=(agent, ), daemon=True) if piped else None
    if reader is not None:
        reader.start()
    interrupted = False
    with _handing_on(agent):
        code = None
        while code is None:
            try:
                # Not for ever: a signal that another thread was given is handled in between.
                code = agent.wait(timeout=1)
            except subprocess.TimeoutExpired:
                continue
            except KeyboardInterrupt:
                if not interrupted:
                    agent.send_signal(signal.SIGINT)
                interrupted = True
            except BaseException:  # of a handler of the program around: nobody waits any more
                agent.terminate()
                raise
    if reader is not None:
        reader.join()
    if interrupted:
        raise KeyboardInterrupt
    return code if code >= 0 else 128 - code


def _is_the_terminal() -> bool:
    """Whether what Python prints goes where a process that it starts writes: not in a notebook."""
    try:
        return sys.stdout.fileno() == 1
    except (OSError, AttributeError, ValueError):
        return False


def _hand_out(agent: subprocess.Popen) -> None:
    for line in agent.stdout:
        print(line, end='', flush=True)


@contextmanager
def _handing_on(agent: subprocess.Popen) -> Iterator[None]:
    """Inside it signals go to the processes. In another thread than the main one, where Python
    takes no handlers, they stay what they are to the program around."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def hand_on(number: int, frame) -> None:
        for process in children(agent.pid) or [agent.pid]:
            os.kill(process, number)

    before = {number: signal.signal(number, hand_on) for number in HANDED_ON}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


@told_in_one_line()
def main(words: Optional[List[str]] = None) -> None:
    """``tools/start_processes.py PROCESSES SCRIPT [arguments]``."""
    words = sys.argv[1:] if words is None else words
    if len(words) < 2 or not words[0].isdigit() or not int(words[0]):
        raise UserError('usage: start_processes.py PROCESSES SCRIPT [arguments]')
    processes, *words = words
    try:
        leave_with(run_processes(int(processes), [*words, '--launcher', 'pytorch']))
    except KeyboardInterrupt:
        leave_with(128 + signal.SIGINT)
