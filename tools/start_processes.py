"""Starts a script on several processes of this machine; called by tools/dist_train.sh.

    NNODES=1 NODE_RANK=0 MASTER_ADDR=HOST PORT=29500 \
        python tools/start_processes.py PROCESSES SCRIPT [arguments]

torchrun does the work. Added are a free port where one machine is all there is, one line where
several machines cannot have theirs, and signals: SIGTERM and SIGUSR1 go to the processes, which
save and stop together, and their exit code becomes that of this one.
"""
import ctypes
import os
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

DEFAULT_PORT = 29500


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
        SystemExit: PORT is no number, or in use where several machines have agreed on it.
    """
    if wanted and not wanted.isdigit():
        sys.exit(f'error: PORT must be a number, not {wanted!r}')
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
        sys.exit(f'error: port {port} of this machine is in use: set PORT to a free one, the same '
                 'on all machines')
    return port


def children(process: int) -> list:
    """The numbers of a process's children."""
    try:
        return [int(number) for number in
                Path(f'/proc/{process}/task/{process}/children').read_text().split()]
    except OSError:
        return []


def leave_with_parent() -> None:
    """Ends the process that calls it when its parent is killed: torchrun would train on."""
    if sys.platform == 'linux':
        ctypes.CDLL(None).prctl(1, int(signal.SIGKILL))  # PR_SET_PDEATHSIG


def main() -> None:
    if len(sys.argv) < 3:
        sys.exit(f'usage: {sys.argv[0]} PROCESSES SCRIPT [arguments]')
    processes, script, *arguments = sys.argv[1:]
    nodes, rank = (int(os.environ.get(name) or default) for name, default in (
        ('NNODES', 1), ('NODE_RANK', 0)))
    port = choose_port(nodes, rank, os.environ.get('PORT', ''))
    command = [sys.executable, '-m', 'torch.distributed.run', f'--nnodes={nodes}',
               f'--node_rank={rank}', f'--nproc_per_node={processes}',
               f'--master_addr={os.environ.get("MASTER_ADDR") or "127.0.0.1"}',
               f'--master_port={port}', script, *arguments, '--launcher', 'pytorch']
    with tempfile.NamedTemporaryFile(prefix='exit_code_') as code:
        agent = subprocess.Popen(command, env={**os.environ, 'EXIT_CODE_FILE': code.name},
                                 preexec_fn=leave_with_parent)

        def hand_on(number: int, frame) -> None:
            workers = children(agent.pid)
            for worker in workers or [agent.pid]:
                os.kill(worker, number)

        for number in (signal.SIGTERM, signal.SIGUSR1):
            signal.signal(number, hand_on)
        while True:
            try:
                failed = agent.wait()
                break
            except KeyboardInterrupt:  # torchrun has got it, too, and ends the others
                continue
        said = Path(code.name).read_text()
    sys.exit(int(said) if said else failed)


if __name__ == '__main__':
    main()
