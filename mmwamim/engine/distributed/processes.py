"""The processes of a run: where they find each other, and what the CPU needs in place of NCCL."""
import ctypes
import os
import signal
import subprocess
import sys

import torch
import torch.distributed
from mmengine.config import Config

from mmwamim.errors import UserError
from mmwamim.interface.words import option

from ..config.loaders import LOADERS, add_hook
from ..config.reading import type_name
from .workers import settle_workers

FIRST_PORT, PORTS = 20000, 20000  # below those that the system gives away


def settle_launcher(launcher: str) -> None:
    """Sets RANK, WORLD_SIZE and the rest of them under Slurm, before anything asks for them.

    Processes meet on the first host of the job (of the step, if srun has part of the job's), where
    the first of them runs, at a port that follows from the number of the job: two jobs of one
    machine do not get in each other's way.

    Raises:
        UserError: There is no such launcher; ``--launcher slurm`` outside of srun, or ``--launcher
            pytorch`` outside of torchrun.
    """
    if launcher not in ('none', 'pytorch', 'slurm'):
        raise UserError(f"{option('launcher')} must be 'none', 'pytorch' or 'slurm', not "
                        f'{launcher!r}')
    variable = dict(slurm='SLURM_PROCID', pytorch='RANK').get(launcher)
    if variable and variable not in os.environ:
        starter = dict(slurm='srun (tools/slurm_train.sh)',
                       pytorch='torchrun (tools/dist_train.sh)')[launcher]
        raise UserError(f'{option("launcher", launcher)}: the environment has no {variable}; start '
                        f'the script by {starter}')
    if launcher == 'pytorch':
        _leave_with_starter()
    if launcher != 'slurm':
        return
    slurm = os.environ
    slurm.update(RANK=slurm['SLURM_PROCID'], WORLD_SIZE=slurm['SLURM_NTASKS'],
                 LOCAL_RANK=slurm['SLURM_LOCALID'], LOCAL_WORLD_SIZE=str(_tasks_of_this_node()))
    slurm.setdefault('MASTER_ADDR', _first_host())
    job = int(slurm.get('SLURM_JOB_ID', 0)) * 16 + int(slurm.get('SLURM_STEP_ID', 0)) % 16
    slurm.setdefault('MASTER_PORT', str(FIRST_PORT + job % PORTS))


def _leave_with_starter() -> None:
    """Ends this process when torchrun is killed: it gives its processes a session of their own,
    in which they would train on, beside those of the next start."""
    if sys.platform != 'linux':
        return
    starter = os.getppid()
    ctypes.CDLL(None).prctl(1, int(signal.SIGKILL))  # PR_SET_PDEATHSIG
    if os.getppid() != starter:  # it was killed just now
        os._exit(1)


def _tasks_of_this_node() -> int:
    """Processes of the step on this node, from a list as ``4(x2),3`` of three nodes."""
    told = next(filter(None, map(os.environ.get, (
        'SLURM_STEP_TASKS_PER_NODE', 'SLURM_NTASKS_PER_NODE', 'SLURM_TASKS_PER_NODE'))), '1')
    counts = []
    for part in told.split(','):
        tasks, _, times = part.rstrip(')').partition('(x')
        counts += [int(tasks)] * int(times or 1)
    node = int(os.environ.get('SLURM_NODEID', 0))
    return counts[node] if node < len(counts) else counts[0]  # NTASKS_PER_NODE is one for all


def _first_host() -> str:
    hosts = next(filter(None, map(os.environ.get, (
        'SLURM_STEP_NODELIST', 'SLURM_JOB_NODELIST', 'SLURM_NODELIST'))), '')
    try:
        done = subprocess.run(['scontrol', 'show', 'hostnames', hosts], capture_output=True,
                              text=True, check=True)
        return done.stdout.split()[0]
    except (OSError, subprocess.CalledProcessError, IndexError):
        return os.environ.get('SLURM_LAUNCH_NODE_IPADDR', '127.0.0.1')


def settle_processes(cfg: Config, launcher: str) -> None:
    """NCCL with GPUs; gloo, and what makes a CPU faster, without. Starts the process group itself
    where there is no GPU, which MMEngine cannot (it sets a CUDA device first).

    Raises:
        UserError: This machine has fewer GPUs than processes, or the processes cannot meet.
    """
    cfg.launcher = launcher
    settle_workers(cfg)
    if torch.cuda.is_available():
        local = int(os.environ.get('LOCAL_WORLD_SIZE', 1))
        if local > torch.cuda.device_count():
            raise UserError(f'{local} processes were asked for, but this machine has '
                            f'{torch.cuda.device_count()} GPUs')
        return
    cfg.env_cfg = {**(cfg.get('env_cfg') or {}), 'dist_cfg': dict(backend='gloo')}
    add_hook(cfg, dict(type='mmwamim.CPUHook'))
    for name in ('SyncBN', 'SyncBatchNorm'):
        _replace_type(cfg.model, name, 'BN')  # there is none for the CPU
    for name in LOADERS:
        if cfg.get(name):
            cfg[name].pin_memory = False
    if launcher == 'none':
        return
    settle_launcher(launcher)
    _meet('gloo')
    # device_ids must be None on the CPU, where MMEngine by itself gives the local rank.
    cfg.model_wrapper_cfg = dict(
        type='MMDistributedDataParallel', device_ids=None, broadcast_buffers=False,
        find_unused_parameters=cfg.get('find_unused_parameters', False))


def join_processes(launcher: str) -> None:
    """Starts the process group of a call that needs no runner.

    Raises:
        UserError: As :func:`settle_launcher`; or the processes cannot meet.
    """
    settle_launcher(launcher)
    if launcher == 'none':
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ['LOCAL_RANK']) % torch.cuda.device_count())
    _meet('nccl' if torch.cuda.is_available() else 'gloo')


def _meet(backend: str) -> None:
    try:
        torch.distributed.init_process_group(backend)
    except torch.distributed.DistNetworkError as error:
        raise UserError(f'the processes cannot meet at port {os.environ.get("MASTER_PORT")} of '
                        f'{os.environ.get("MASTER_ADDR")}: set PORT (MASTER_PORT) to a free one '
                        f'({str(error).splitlines()[0]})') from None


def part_processes() -> None:
    """Ends the process group when all have come here: one that leaves early breaks the others."""
    if torch.distributed.is_initialized():
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()


def _replace_type(config, old: str, new: str) -> None:
    """Replaces a ``type`` everywhere in a nested config, in place."""
    for value in config.values() if isinstance(config, dict) else config:
        if isinstance(value, (dict, list, tuple)):
            _replace_type(value, old, new)
    if isinstance(config, dict) and config.get('type') and type_name(config) == old:
        config['type'] = new
