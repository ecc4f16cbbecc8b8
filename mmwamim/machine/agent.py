"""torchrun, for :mod:`mmwamim.machine.launch`: ``python -m mmwamim.machine.agent PARENT ...``.

It ends with its parent, and with the exit code of the first process that failed. What that process
has printed tells more than torchrun's report of it, which is left out. The options are torchrun's.
"""
import ctypes
import logging
import os
import signal
import sys

from mmwamim.errors import leave_with


def leave_with_parent(parent: int) -> None:
    """Ends this process when its parent is killed: torchrun would train on."""
    if sys.platform == 'linux':
        ctypes.CDLL(None).prctl(1, int(signal.SIGKILL))  # PR_SET_PDEATHSIG
        if os.getppid() != parent:  # it was killed just now
            os._exit(1)


def main(parent: str, *words: str) -> int:
    leave_with_parent(int(parent))
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.run import parse_args, run
    for name in list(logging.root.manager.loggerDict):
        if name.startswith('torch.distributed.elastic'):
            logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        run(parse_args(list(words)))
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        if failure.exitcode >= 0:
            return failure.exitcode
        name = signal.Signals(-failure.exitcode).name
        print(f'error: process {rank} was ended by {name}', file=sys.stderr)
        return 128 - failure.exitcode
    except SignalException as error:
        return 128 + error.sigval
    return 0


if __name__ == '__main__':
    leave_with(main(*sys.argv[1:]))
