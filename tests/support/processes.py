"""Processes forked from that of the tests: importing torch anew takes each many seconds."""
import os
import signal
import sys
import tempfile
import time
import traceback

import pytest
import torch
import torch.multiprocessing

from tests.support.commands import ROOT, free_port, load_tool, run

LEFT = 20.  # seconds that the others have to end in when one has failed, as they do by themselves


def _start(rank, port, function, arguments):
    torch.set_num_threads(1)
    torch.distributed.init_process_group('gloo', init_method=f'tcp://127.0.0.1:{port}', rank=rank,
                                         world_size=2)
    function(rank, *arguments)
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


def in_two_processes(function, *arguments):
    """Calls ``function(rank, *arguments)`` in two processes that can talk to each other; an
    exception in either is raised here."""
    torch.multiprocessing.start_processes(
        _start, (free_port(), function, arguments), nprocs=2,
        start_method='spawn' if torch.cuda.is_available() else 'fork')


def call_in_ranks(function, ranks=2, timeout=300, **environment):
    """Calls ``function()`` in processes that have the environment torchrun gives its own. Where
    there is a GPU, which no fork can use, the test is skipped.

    Returns:
        The exit code, of the first process that fails if one does, and what they all printed.
    """
    if torch.cuda.is_available():
        pytest.skip('forks processes')
    environment = dict(WORLD_SIZE=ranks, LOCAL_WORLD_SIZE=ranks, MASTER_ADDR='127.0.0.1',
                       MASTER_PORT=free_port(), **environment) if ranks > 1 else environment
    with tempfile.TemporaryFile('w+', errors='replace') as printed:
        left, code = {}, 0
        for rank in range(ranks):
            child = os.fork()
            if not child:
                more = dict(RANK=rank, LOCAL_RANK=rank) if ranks > 1 else {}
                _call(function, printed.fileno(), {**environment, **more})
            left[child] = rank
        until = time.monotonic() + timeout
        while left:
            child, status = next(filter(any, (os.waitpid(pid, os.WNOHANG) for pid in left)), (0, 0))
            if child in left:
                del left[child]
                ended = os.waitstatus_to_exitcode(status)
                if ended and not code:
                    code, until = ended, min(until, time.monotonic() + LEFT)
            elif time.monotonic() > until:
                code = code or 124
                for child in left:
                    os.killpg(child, signal.SIGKILL)
            else:
                time.sleep(.02)
        printed.seek(0)
        return code, printed.read()


def train_in_ranks(*arguments, ranks=2, **environment):
    """What ``tools/dist_train.sh`` (with one rank: ``tools/train.py``) does with these arguments:
    see :func:`call_in_ranks`."""
    if torch.cuda.is_available():
        script = [sys.executable, 'tools/train.py'] if ranks == 1 else ['tools/dist_train.sh']
        config, *more = arguments
        return run(*script, config, *[ranks] * (ranks > 1), *more, PORT=str(free_port()),
                   **{name: f'{value}:{ROOT}' for name, value in environment.items()})
    arguments = [*map(str, arguments)]
    if ranks > 1:
        arguments[1:1] = ['--launcher', 'pytorch']
    return call_in_ranks(lambda: run_script('tools/train.py', *arguments), ranks, **environment)


def run_script(script, *arguments):
    """Runs a script of this project as if it were started."""
    sys.argv = [script, *map(str, arguments)]
    load_tool(script).main()


def _call(function, printed, environment):
    """Never comes back."""
    code = 1
    try:
        os.setsid()
        for number in (1, 2):
            os.dup2(printed, number)
        sys.stdout = sys.stderr = open(1, 'w', buffering=1, closefd=False)
        os.environ.update({name: str(value) for name, value in environment.items()})
        sys.path[:0] = filter(None, str(environment.get('PYTHONPATH', '')).split(':'))
        os.chdir(ROOT)
        function()
        code = 0
    except SystemExit as stop:
        if isinstance(stop.code, str):
            print(stop.code)
        else:
            code = stop.code or 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(code)
