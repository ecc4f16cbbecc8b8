"""Cores, loaders and addresses of the processes."""
import os

import pytest
from mmengine.config import Config

from mmwamim.engine.distributed import granted_cores, settle_launcher, settle_workers
from mmwamim.errors import UserError


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.mark.parametrize('bound, files, cores', [
    (8, {}, 8),  # what Slurm and taskset bind to
    (8, {'cpu.max': 'max 100000\n'}, 8),
    (8, {'cpu.max': '250000 100000\n'}, 3),  # a container with two and a half cores
    (2, {'cpu.max': '800000 100000\n'}, 2),
    (8, {'cpu/cpu.cfs_quota_us': '400000\n', 'cpu/cpu.cfs_period_us': '100000\n'}, 4),
    (8, {'cpu/cpu.cfs_quota_us': '-1\n', 'cpu/cpu.cfs_period_us': '100000\n'}, 8),
    (8, {'cpu.max': '20000 100000\n'}, 1)])
def test_cores_are_those_that_were_granted(tmp_path, monkeypatch, bound, files, cores):
    monkeypatch.setattr(os, 'sched_getaffinity', lambda process: set(range(bound)))
    monkeypatch.setattr(os, 'cpu_count', lambda: 64)
    for name, text in files.items():
        write(tmp_path / name, text)
    assert granted_cores(tmp_path, tmp_path / 'nowhere') == cores


@pytest.mark.parametrize('lines, files, cores', [
    # A unit of systemd, version 2, within a slice with another limit; a job, version 1.
    ('0::/a.slice/b.scope\n', {'a.slice/b.scope/cpu.max': '150000 100000',
                               'a.slice/cpu.max': '400000 100000'}, 2),
    ('0::/a.slice/b.scope\n', {'a.slice/cpu.max': '300000 100000'}, 3),
    ('4:cpu,cpuacct:/job_7\n1:name=x:/\n', {'cpu/job_7/cpu.cfs_quota_us': '500000',
                                            'cpu/job_7/cpu.cfs_period_us': '100000'}, 5)])
def test_limits_of_the_group_of_this_process(tmp_path, monkeypatch, lines, files, cores):
    monkeypatch.setattr(os, 'sched_getaffinity', lambda process: set(range(8)))
    for name, text in files.items():
        write(tmp_path / name, text)
    write(tmp_path / 'membership', lines)
    assert granted_cores(tmp_path, tmp_path / 'membership') == cores


def test_loaders_get_no_more_workers_than_cores_and_no_fields_without(monkeypatch):
    monkeypatch.setattr(os, 'sched_getaffinity', lambda process: set(range(4)))
    monkeypatch.setattr('mmwamim.machine.cores._limits', lambda *places: [])
    loader = dict(batch_size=2, persistent_workers=True, prefetch_factor=4)
    cfg = Config(dict(train_dataloader=dict(loader, num_workers=16),
                      val_dataloader=dict(loader, num_workers=0), test_dataloader=dict(loader)))
    settle_workers(cfg)
    assert cfg.train_dataloader == dict(loader, num_workers=4)
    assert cfg.val_dataloader == cfg.test_dataloader == dict(batch_size=2, num_workers=0)
    monkeypatch.setenv('LOCAL_WORLD_SIZE', '2')
    settle_workers(cfg)
    assert cfg.train_dataloader.num_workers == 2
    monkeypatch.setenv('SLURM_PROCID', '0')  # srun has bound each process to cores of its own
    cfg.train_dataloader.num_workers = 16
    settle_workers(cfg)
    assert cfg.train_dataloader.num_workers == 4


def test_slurm_tells_who_is_who_before_anybody_asks(monkeypatch, tmp_path):
    scontrol = tmp_path / 'scontrol'
    scontrol.write_text('#!/bin/sh\n[ "$3" = "node[3-4]" ] && printf "node3\\nnode4\\n"\n')
    scontrol.chmod(0o755)
    for name in ('RANK', 'WORLD_SIZE', 'LOCAL_RANK', 'LOCAL_WORLD_SIZE', 'MASTER_ADDR',
                 'MASTER_PORT'):
        monkeypatch.setenv(name, '')  # so that it is put back
        monkeypatch.delenv(name)
    monkeypatch.setenv('PATH', str(tmp_path), prepend=':')
    for name, value in dict(SLURM_PROCID=5, SLURM_NTASKS=8, SLURM_LOCALID=1, SLURM_JOB_ID=1234,
                            SLURM_STEP_ID=2, SLURM_TASKS_PER_NODE='4(x2)',
                            SLURM_JOB_NODELIST='node[3-4]').items():
        monkeypatch.setenv(name, str(value))
    settle_launcher('slurm')
    ports = {os.environ['MASTER_PORT']}
    assert [os.environ[name] for name in (
        'RANK', 'WORLD_SIZE', 'LOCAL_RANK', 'LOCAL_WORLD_SIZE', 'MASTER_ADDR')] == [
        '5', '8', '1', '4', 'node3']
    for job in (1235, 1236, 1240):  # other jobs of the same machine
        monkeypatch.delenv('MASTER_PORT')
        monkeypatch.setenv('SLURM_JOB_ID', str(job))
        settle_launcher('slurm')
        ports.add(os.environ['MASTER_PORT'])
    assert len(ports) == 4 and all(20000 <= int(port) < 40000 for port in ports)


@pytest.mark.parametrize('told, node, tasks', [
    (dict(SLURM_TASKS_PER_NODE='4(x2),3'), 0, 4), (dict(SLURM_TASKS_PER_NODE='4(x2),3'), 2, 3),
    (dict(SLURM_TASKS_PER_NODE='2,1'), 1, 1), (dict(SLURM_NTASKS_PER_NODE='8'), 3, 8),
    # An srun that takes part of a job's nodes and tasks.
    (dict(SLURM_NTASKS_PER_NODE='8', SLURM_STEP_TASKS_PER_NODE='2'), 0, 2)])
def test_a_step_of_slurm_has_its_own_tasks_and_first_host(monkeypatch, tmp_path, told, node, tasks):
    scontrol = tmp_path / 'scontrol'
    scontrol.write_text('#!/bin/sh\n[ "$3" = "n[3-4]" ] && printf "n3\\nn4\\n"\n')
    scontrol.chmod(0o755)
    for name in ('RANK', 'WORLD_SIZE', 'LOCAL_RANK', 'LOCAL_WORLD_SIZE', 'MASTER_ADDR',
                 'MASTER_PORT', 'SLURM_TASKS_PER_NODE', 'SLURM_NTASKS_PER_NODE',
                 'SLURM_STEP_TASKS_PER_NODE'):
        monkeypatch.setenv(name, '')  # so that it is put back
        monkeypatch.delenv(name)
    monkeypatch.setenv('PATH', str(tmp_path), prepend=':')
    for name, value in dict(SLURM_PROCID=1, SLURM_NTASKS=2, SLURM_LOCALID=0, SLURM_NODEID=node,
                            SLURM_JOB_NODELIST='n[1-4]', SLURM_STEP_NODELIST='n[3-4]',
                            **told).items():
        monkeypatch.setenv(name, str(value))
    settle_launcher('slurm')
    assert (os.environ['LOCAL_WORLD_SIZE'], os.environ['MASTER_ADDR']) == (str(tasks), 'n3')


def test_a_launcher_that_did_not_start_the_script_is_named(monkeypatch):
    monkeypatch.delenv('SLURM_PROCID', raising=False)
    with pytest.raises(UserError, match='launcher=.slurm.: .* no SLURM_PROCID; .* by srun'):
        settle_launcher('slurm')
