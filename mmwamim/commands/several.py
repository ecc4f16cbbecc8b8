"""``--gpus N``: a call that N processes of this machine make together.

The arguments go to the processes in a file, and the result, or what was wrong, comes back in one.
Each process is ``python -m mmwamim.commands.several FOLDER``.
"""
import argparse
import functools
import multiprocessing
import os
import pickle
import signal
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Any, Callable, Optional, TypeVar

from mmwamim.errors import Preempted, ProcessesFailed, UserError, leave_with
from mmwamim.interface.arguments import settled
from mmwamim.interface.words import in_shell, is_in_shell, option
from mmwamim.machine.cores import granted_cores
from mmwamim.machine.launch import run_processes

Call = TypeVar('Call', bound=Callable)
MOST_ON_CPU = 8  # processes, where there are fewer cores: each takes half a gigabyte to start
CALL, RESULT, ERROR = 'call', 'result', 'error'  # files


def takes_gpus(function: Call) -> Call:
    """Gives a function with an argument ``launcher`` the meaning of its argument ``gpus``: more
    than one, and so many processes make the call together; the first one's result comes back."""

    @functools.wraps(function)
    def call(*arguments: Any, gpus: Optional[int] = None, **keywords: Any) -> Any:
        if gpus is None:
            return function(*arguments, **keywords)
        gpus = settled('gpus', gpus, int)
        check_gpus(gpus, keywords.get('launcher', 'none'))
        if gpus == 1:
            return function(*arguments, **keywords)
        return _in_processes(gpus, f'{function.__module__}:{function.__name__}', arguments,
                             dict(keywords, launcher='pytorch'))

    return call


def check_gpus(gpus: int, launcher: str = 'none') -> None:
    """Checks what --gpus says.

    Raises:
        UserError: It is not positive, more than there are, or the processes are started
            already.
    """
    import torch
    if gpus < 1:
        raise UserError(f'{option("gpus")} must be at least 1, not {gpus}')
    if launcher != 'none':
        raise UserError(f'{option("gpus")} starts the processes itself: leave out '
                        f'{option("launcher", launcher)}')
    there = torch.cuda.device_count()
    if 0 < there < gpus:
        raise UserError(f'{gpus} GPUs were asked for, but this machine has {there}')
    most = max(granted_cores(), MOST_ON_CPU)
    if not there and gpus > most:
        raise UserError(f'{option("gpus", gpus)}: this machine has no GPU, and '
                        f'{granted_cores()} cores: {most} processes at most')


def _in_processes(gpus: int, name: str, arguments: tuple, keywords: dict) -> Any:
    import torch
    has_gpus = torch.cuda.device_count() > 0
    if not has_gpus:
        print(f'no GPU found: {gpus} processes on the CPU', flush=True)
    with tempfile.TemporaryDirectory(prefix='call_') as folder:
        Path(folder, CALL).write_bytes(pickle.dumps((name, arguments, keywords, is_in_shell())))
        code = run_processes(gpus, ['-m', 'mmwamim.commands.several', folder], has_gpus)
        error = Path(folder, ERROR)
        if error.is_file():
            kind, what = pickle.loads(error.read_bytes())
            if kind == 'preempted':
                raise Preempted(what)
            if kind == 'user':
                raise what
            raise ProcessesFailed(code or 1, what)
        if code or not Path(folder, RESULT).is_file():
            raise ProcessesFailed(code or 1, f'the processes ended with exit code {code}')
        return pickle.loads(Path(folder, RESULT).read_bytes())


def _take_part(folder: Path) -> int:
    """One process of a call; the exit code."""
    # It would kill a process that is still importing: it waits until StopRequest listens.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    from mmwamim.commands.main import quiet_import
    rank = int(os.environ['RANK'])
    name, arguments, keywords, shell = pickle.loads((folder / CALL).read_bytes())
    module, _, function = name.partition(':')
    try:
        call = getattr(quiet_import(module), function)
        from mmwamim.engine.training.preemption import StopRequest
        StopRequest.listen()  # a run that is asked to stop while it starts does so after a step
        with in_shell(shell):
            result = call(*arguments, **keywords)
        StopRequest.leave()
        if rank == 0:
            (folder / RESULT).write_bytes(pickle.dumps(result))
        return 0
    except Preempted as error:
        _tell(folder, 'preempted', error.path)
        for worker in multiprocessing.active_children():  # of loaders
            worker.terminate()
        sys.stdout.flush()
        os._exit(0)  # at once: a process that tidies up for seconds is killed by Slurm
    except UserError as error:
        _tell(folder, 'user', error)
    except Exception as error:
        if _tell(folder, 'other', f'process {rank}: {type(error).__name__}: {error}'):
            traceback.print_exc()
    except KeyboardInterrupt:
        os._exit(128 + signal.SIGINT)
    return 1


def _tell(folder: Path, kind: str, what: Any) -> bool:
    """Leaves what happened to the starter, unless another process has done so."""
    beside = folder / f'{ERROR}_{os.getpid()}'
    beside.write_bytes(pickle.dumps((kind, what)))
    try:
        os.link(beside, folder / ERROR)
    except FileExistsError:
        return False
    return True


def add_gpus(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--gpus', type=int, metavar='N', help='processes of this machine that work '
                        'together, each with a GPU (without GPUs on the CPU); a batch is that of '
                        'each process (default: 1)')


if __name__ == '__main__':
    leave_with(_take_part(Path(sys.argv[1])))
