"""tools/slurm_job.sh, with an srun and an scontrol that write down what they are asked for (on a
real Slurm: tests/faults/slurm_trials.py)."""
import os
import shutil
import subprocess
import sys

import pytest

from tests.support.commands import ROOT
from tests.support.runs import PRETRAIN


@pytest.fixture
def job(tmp_path):
    """Runs the script as slurmd does: a copy of it, in the folder that it was submitted from."""
    spool, programs, here = (tmp_path / name for name in ('spool', 'bin', 'a folder'))
    for folder in (spool, programs, here):
        folder.mkdir()
    script = shutil.copy(ROOT / 'tools/slurm_job.sh', spool / 'slurm_script')

    def start(*arguments, ends='exit 0', command=ROOT / 'tools/slurm_job.sh', preempted='None',
              **environment):
        (programs / 'srun').write_text(f'#!/bin/sh\necho srun "$@"\n{ends}\n')
        (programs / 'scontrol').write_text(
            f'#!/bin/sh\n[ "$1" != show ] || echo "   PreemptTime={preempted}'
            f'\n   Command={command} a b"\n'
            '[ "$1" = show ] || echo scontrol "$@"\n')
        for program in programs.iterdir():
            program.chmod(0o755)
        done = subprocess.run(
            ['bash', script, *map(str, arguments)], cwd=here, text=True, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, 'PATH': f'{programs}:{os.environ["PATH"]}', 'SLURM_JOB_ID': '17',
                 'SLURM_SUBMIT_DIR': str(here), 'SLURM_CPUS_PER_TASK': '3',
                 'PYTHON': sys.executable, **environment})
        return done.returncode, done.stdout.splitlines()

    start.here = here
    return start


def stops(work, signal, code):
    """A shell command that leaves what a run leaves when it was asked to stop."""
    return f'mkdir -p {work} && echo {signal} > {work}/stopped_by; exit {code}'


def test_what_srun_starts(job):
    code, lines = job(PRETRAIN, '--data', 'x', '--work-dir', 'w', SRUN_ARGS='--qos=q')
    assert code == 0 and lines == [
        f'srun --cpus-per-task=3 --kill-on-bad-exit=1 --qos=q {sys.executable} -u '
        f'{ROOT}/tools/train.py {PRETRAIN} --work-dir w --launcher slurm --resume --data x '
        '--work-dir w']
    code, lines = job(PRETRAIN, '--resume', 'x.pth', SLURM_RESTART_COUNT='1')
    assert lines[0].endswith('--work-dir work_dirs/vit_tiny_pretrain --launcher slurm --resume '
                             '--resume x.pth --resume')  # the last one counts


# 143 and 137: the last process was killed, since the first one had left.
@pytest.mark.parametrize('code', [85, 143, 137])
@pytest.mark.parametrize('option', [['--work-dir', 'w'], ['--work-dir=w'], []])
def test_the_limit_brings_the_job_back(job, option, code):
    work = 'w' if option else 'work_dirs/vit_tiny_pretrain'
    ended, lines = job(PRETRAIN, *option, ends=stops(work, 'SIGUSR1', code))
    assert ended == 0 and lines[1:] == ['scontrol requeue 17']


def test_a_cancelled_job_stays_away(job):
    code, lines = job(PRETRAIN, '--work-dir', 'w', ends=stops('w', 'SIGTERM', 137))
    assert code == 85
    assert lines[1:] == ['cancelled: saved in w, and not started again; go on with --resume']


def test_a_job_that_made_room_for_another_comes_back(job):
    code, lines = job(PRETRAIN, '--work-dir', 'w', ends=stops('w', 'SIGTERM', 85),
                      preempted='2026-11-26T12:28:20')
    assert code == 0 and lines[1:] == ['scontrol requeue 17']


@pytest.mark.parametrize('code', [1, 137])
def test_a_failure_stays_one_beside_what_an_earlier_stop_has_left(job, code):
    assert job(PRETRAIN, '--work-dir', 'w', ends=stops('w', 'SIGUSR1', 85))[0] == 0
    ended, lines = job(PRETRAIN, '--work-dir', 'w', ends=f'exit {code}')
    assert ended == code and len(lines) == 1


def test_the_repository_is_found_from_a_copy_and_its_absence_told(job, tmp_path):
    other = tmp_path / 'my tools'
    shutil.copytree(ROOT / 'tools', other, ignore=shutil.ignore_patterns('__pycache__'))
    code, lines = job(PRETRAIN, command=f'{other}/slurm_job.sh')
    assert code == 0 and f'{tmp_path}/tools/train.py' in lines[0]
    code, lines = job(PRETRAIN, command='/elsewhere/mine.sh')
    assert code == 1 and lines == [f'error: there is no {job.here}/tools/environment.sh: '
                                   'submit tools/slurm_job.sh from the root of the repository']
    assert job(PRETRAIN, command='/elsewhere/mine.sh', SLURM_SUBMIT_DIR=str(ROOT))[0] == 0


def test_it_is_for_sbatch_with_the_signal_that_reaches_the_steps():
    text = (ROOT / 'tools/slurm_job.sh').read_text()
    for option in ('--signal=USR1@120', '--requeue', '--open-mode=append', '--gres=gpu:8'):
        assert f'\n#SBATCH {option}\n' in text
    done = subprocess.run(['bash', ROOT / 'tools/slurm_job.sh', PRETRAIN], capture_output=True,
                          text=True, env={'PATH': os.environ['PATH']})
    assert done.returncode == 2 and done.stderr.startswith('usage: sbatch ')
