"""Submits small pre-trainings to a real Slurm, stops them in every way that it has, and compares
their ends with that of a run that was never stopped.

    tests/faults/slurm_node.sh start NODE && export SLURM_CONF=NODE/slurm.conf  # if there is none
    python -m tests.faults.slurm_trials --out DIR [TRIAL ...]

It needs nodes that take two tasks each, and a time limit of ten minutes. Where there is
no Slurm it says so, and ends with code 0.
"""
import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Callable, Dict
from unittest import mock

import numpy as np
from PIL import Image

from mmwamim.errors import PREEMPTED
from tests.faults.kill_and_resume import CONFIG, ROOT, last_step, losses, same
from tests.faults.slurm_jobs import BATCH, SMALL, Failed, Job, must, tell, wait

IMAGES = 40  # two steps an epoch with two tasks


def make_images(folder: Path) -> Path:
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in range(IMAGES):
        small = Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8))
        small.resize((72, 72), Image.Resampling.BICUBIC).save(folder / f'{number}.png')
    return folder


def must_be_equal(whole: Path, work: Path) -> None:
    final = (whole / 'last_checkpoint').read_text().strip().rsplit('/')[-1]
    must(same(whole / final, work / final) == [], f'weights or optimizer of {work} differ')
    must(losses(whole) == losses(work), f'losses of {work} differ')


def must_be_quiet(job: Job) -> None:
    log = job.log.read_text()
    for words in ('is killed by signal', 'Traceback'):
        must(words not in log, f'{job.log} has {words!r}')


def whole_run(out: Path, data: Path, epochs: int) -> Path:
    """The run of two tasks that nobody stops."""
    work = out / f'whole_{epochs}'
    if not (work / 'last_checkpoint').exists():
        must(Job(work, data, epochs=epochs, seconds=0).end() == 'COMPLETED 0:0', f'{work} failed')
    return work


def terminate(out: Path, data: Path) -> str:
    """SIGTERM to every process of the step, loader workers too; then submitted again."""
    whole, work = whole_run(out, data, 10), out / 'terminate'
    job = Job(work, data)
    job.reach(5)
    tell('scancel', '--signal=TERM', job.number)
    must(job.end() == f'FAILED {PREEMPTED}:0', f'ended as {job.end()}')
    must(job.stopped_by() == 'SIGTERM' and job.about('Restarts') == '0', 'was taken for a limit')
    must_be_quiet(job)
    reached = last_step(work)
    again = Job(work, data, seconds=0)
    must(again.end() == 'COMPLETED 0:0', f'ended as {again.end()}')
    must_be_equal(whole, work)
    return f'saved after step {reached}, equal to the bit after the second job'


def limit(out: Path, data: Path) -> str:
    """The time limit, with the options that tools/slurm_job.sh has."""
    whole, work = whole_run(out, data, 50), out / 'limit'
    job = Job(work, data, epochs=50, minutes=5, seconds=2)
    must(job.end() == 'COMPLETED 0:0', f'ended as {job.end()}')
    must(int(job.about('Restarts')) > 0, 'came to its end before the limit')
    must_be_quiet(job)
    must_be_equal(whole, work)
    return f'started again {job.about("Restarts")} times, equal to the bit'


def requeue(out: Path, data: Path) -> str:
    """Slurm's signal before the limit, five times in a job of two tasks: none loses the requeue."""
    whole, work = whole_run(out, data, 50), out / 'requeue'
    job = Job(work, data, epochs=50, seconds=0.5)
    for turn in range(1, 6):
        job.reach(last_step(work) + 2)
        tell('scancel', '--signal=USR1', job.number)
        wait(lambda turn=turn: job.about('Restarts') == str(turn) or job.is_over(), 'requeue', 60)
        must(not job.is_over(), f'turn {turn} lost the requeue: see {job.log}')
    must(job.end() == 'COMPLETED 0:0', f'ended as {job.end()}')
    must_be_quiet(job)
    must_be_equal(whole, work)
    return ('started again 5 times, equal to the bit; '
            f'tasks killed by srun after saving: {job.killed()}')


def late(out: Path, data: Path) -> str:
    """One task leaves a second after the other has, and is killed by srun: a shell script in the
    place of Python, which has saved. No requeue may be lost."""
    work, python = out / 'late', out / 'late.sh'
    work.mkdir()
    python.write_text(f'''#!/bin/sh
[ "${{SLURM_RESTART_COUNT:-0}}" -lt 4 ] || exit 0
if [ "$SLURM_PROCID" = 1 ]; then sleep 1; exit {PREEMPTED}; fi
echo SIGUSR1 > {work}/stopped_by
sleep 2
exit {PREEMPTED}
''')
    python.chmod(0o755)
    with mock.patch.dict(os.environ, PYTHON=str(python)):
        job = Job(work, data)
    must(job.end() == 'COMPLETED 0:0' and job.about('Restarts') == '4',
         f'{job.end()} after {job.about("Restarts")} restarts: see {job.log}')
    killed = job.killed()
    must(killed > 0, f'no task was late: see {job.log}')
    return f'{killed} of 4 stops had a task killed after saving, each was started again'


def cancel(out: Path, data: Path) -> str:
    """scancel: saved, and does not come back."""
    job = Job(out / 'cancel', data)
    job.reach(3)
    tell('scancel', job.number)
    wait(lambda: (job.work / 'stopped_by').exists(), 'the checkpoint', 60)
    time.sleep(20)
    must(job.about('JobState') == 'CANCELLED' and job.about('Restarts') == '0',
         f'{job.about("JobState")} after {job.about("Restarts")} restarts')
    must(job.stopped_by() == 'SIGTERM' and (job.work / 'preempted.pth').exists(), 'not saved')
    must_be_quiet(job)
    return f'saved after step {last_step(job.work)}, CANCELLED 20 s later'


def preempt(out: Path, data: Path) -> str:
    """A job that goes first: saved in the time that Slurm grants (GraceTime), and comes back."""
    if 'urgent' not in tell('sinfo', '-ho', '%R').split():
        return "left out: there is no partition 'urgent' whose jobs go first"
    whole, node = whole_run(out, data, 10), tell('sinfo', '-hNo', '%N').split()[0]
    job = Job(out / 'preempt', data, options=['--exclusive', f'--nodelist={node}'])
    job.reach(3)
    tell('sbatch', '--partition=urgent', '--exclusive', f'--nodelist={node}', '--output=/dev/null',
         '--wrap=sleep 5')
    must(job.end() == 'COMPLETED 0:0', f'ended as {job.end()}')
    must(job.about('Restarts') == '1', f'started again {job.about("Restarts")} times')
    must('Asked to stop: saved' in job.log.read_text(), 'not saved')
    must_be_quiet(job)
    must_be_equal(whole, job.work)
    return 'saved, started again, equal to the bit'


def interactive(out: Path, data: Path) -> str:
    """tools/slurm_train.sh outside of a job: asks again after the limit, not after scancel."""
    work, log = out / 'interactive', out / 'interactive.log'
    command = ['tools/slurm_train.sh', tell('sinfo', '-ho', '%R').split()[0], 'interactive', CONFIG,
               work, '--data', data, '--epochs', 10, '--batch-size', BATCH, '--cfg-options', *SMALL,
               'default_hooks.slow.seconds=1']
    environment = {**os.environ, 'GPUS': '2', 'CPUS_PER_TASK': '1', 'GRES': 'none',
                   'SRUN_ARGS': '--time=10'}
    run = subprocess.Popen([str(word) for word in command], cwd=ROOT, env=environment,
                           stdout=log.open('w'), stderr=subprocess.STDOUT)
    for arguments in (['--signal=USR1'], []):
        step = last_step(work) + 2
        wait(lambda step=step: last_step(work) >= step or run.poll() is not None, 'steps', 300)
        tell('scancel', *arguments, '--name=interactive')
        time.sleep(3)
    run.wait(60)
    must('- Resuming from' in log.read_text(), f'did not ask again: see {log}')
    must('cancelled: saved in' in log.read_text(), f'scancel was not told: see {log}')
    return f'asked again after SIGUSR1; ended after scancel with code {run.returncode}'


def side_by_side(out: Path, data: Path) -> str:
    """Two jobs of two tasks on one node at a time, with fewer images than a batch of 2 x 32."""
    node = tell('sinfo', '-hNo', '%N').split()[0]
    jobs = [Job(out / f'side_{name}', data, epochs=4, batch=32, options=[f'--nodelist={node}'])
            for name in 'ab']
    ends = [job.end() for job in jobs]
    must(ends == ['COMPLETED 0:0'] * 2, f'ended as {ends}')
    must(all('fewer than a batch of 32 x 2' in job.log.read_text() for job in jobs),
         'the number of processes was not known')
    begun = sorted((job.about('StartTime'), job.about('EndTime')) for job in jobs)
    must(begun[1][0] < begun[0][1], 'they did not run at the same time')
    return f'both COMPLETED on {node} at the same time, with {last_step(jobs[0].work)} steps'


def nodes(out: Path, data: Path) -> str:
    """Two nodes with a task each meet on the first one."""
    if len(set(tell('sinfo', '-hNo', '%N').split())) < 2:
        return 'left out: there is one node'
    job = Job(out / 'nodes', data, nodes=2, seconds=0)
    must(job.end() == 'COMPLETED 0:0', f'ended as {job.end()}')
    must_be_equal(whole_run(out, data, 10), job.work)
    script = ('import os; from mmwamim.engine.distributed import settle_launcher; '
              'settle_launcher("slurm"); print("met:", *map(os.environ.get, ("SLURM_JOB_NODELIST", '
              '"MASTER_ADDR", "RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE")))')
    said = tell('srun', '--nodes=2', '--ntasks=2', sys.executable, '-c', script).splitlines()
    lines = sorted((line for line in said if line.startswith('met:')),
                   key=lambda line: line.split()[3])
    must(len(lines) == 2, f'srun said {said}')
    for rank, line in enumerate(lines):
        _, hosts, *found = line.split()
        first = tell('scontrol', 'show', 'hostnames', hosts).split()[0]
        must(found == [first, str(rank), '2', '1'], f'process {rank} has {line!r}')
    return f'equal to the bit to two tasks of one node; MASTER_ADDR is {first} of {hosts}'


TRIALS: Dict[str, Callable[[Path, Path], str]] = dict(
    terminate=terminate, limit=limit, requeue=requeue, late=late, cancel=cancel, preempt=preempt,
    interactive=interactive, side_by_side=side_by_side, nodes=nodes)


def main() -> None:
    parser = argparse.ArgumentParser(description='Stop runs on a real Slurm')
    parser.add_argument('trials', nargs='*', choices=[[], *TRIALS], metavar='TRIAL',
                        help=f'of {", ".join(TRIALS)} (default: all)')
    parser.add_argument('--out', type=Path, required=True)
    args = parser.parse_args()
    if shutil.which('sbatch') is None or subprocess.run(['sinfo'], capture_output=True).returncode:
        print('no Slurm here: nothing was tried (tests/faults/slurm_node.sh starts one)')
        return
    os.environ.setdefault('PYTHON', sys.executable)
    out = args.out.resolve()
    data = out / 'images'
    if not data.exists():
        make_images(data)
    results = {}
    for name in args.trials or TRIALS:
        try:
            results[name] = TRIALS[name](out, data)
        except Failed as error:
            results[name] = f'FAILED: {error}'
        print(f'{name}: {results[name]}', flush=True)
    version = tell('sinfo', '--version').strip()
    (out / 'result.json').write_text(json.dumps(dict(slurm=version, **results), indent=2) + '\n')
    sys.exit(any(result.startswith('FAILED') for result in results.values()))


if __name__ == '__main__':
    main()
