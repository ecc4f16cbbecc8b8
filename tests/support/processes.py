"""Runs a function of a test in two processes that can talk to each other."""
import socket

import torch
import torch.multiprocessing


def _start(rank, port, function, arguments):
    torch.set_num_threads(1)
    torch.distributed.init_process_group('gloo', init_method=f'tcp://127.0.0.1:{port}', rank=rank,
                                         world_size=2)
    function(rank, *arguments)
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


def in_two_processes(function, *arguments):
    """Calls ``function(rank, *arguments)``, of a module's top level, in two processes; an
    exception in either is raised here."""
    with socket.socket() as found:
        found.bind(('127.0.0.1', 0))
        port = found.getsockname()[1]
    torch.multiprocessing.spawn(_start, (port, function, arguments), nprocs=2)
