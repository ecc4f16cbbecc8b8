"""Jobs of a real Slurm, for the trials."""
import re
import subprocess
import time
from pathlib import Path
from typing import Callable, List

from tests.faults.kill_and_resume import CONFIG, ROOT, last_step

ENDED = ('COMPLETED', 'FAILED', 'CANCELLED', 'TIMEOUT', 'NODE_FAIL', 'OUT_OF_MEMORY')
SMALL = [  # steps of milliseconds, then slowed down
    'model.backbone.arch.embed_dims=32', 'model.backbone.arch.num_layers=4',
    'model.backbone.arch.num_heads=2', 'model.backbone.arch.feedforward_channels=64',
    'model.backbone.out_indices=(0,1,2,3)', 'model.neck.embed_dims=32', 'model.neck.num_heads=2',
    'default_hooks.logger.interval=1', 'default_hooks.slow.type=tests.faults.slow.Slow']
BATCH = 10


class Failed(Exception):
    """Something is not as it should be."""


def must(right: bool, what: str) -> None:
    if not right:
        raise Failed(what)


class Job:
    """A job of tools/slurm_job.sh, in a work directory that it may share with an earlier one."""

    def __init__(self, work: Path, data: Path, tasks: int = 2, nodes: int = 1, epochs: int = 10,
                 batch: int = BATCH, minutes: int = 10, seconds: float = 1,
                 options: List[str] = ()) -> None:
        self.work = work
        self.log = work.parent / f'{work.name}.log'
        command = ['sbatch', '--parsable', f'--output={self.log}', '--gres=none',
                   f'--nodes={nodes}', f'--ntasks-per-node={tasks // nodes}', '--cpus-per-task=1',
                   f'--time={minutes}', *options, 'tools/slurm_job.sh', CONFIG, '--data', data,
                   '--work-dir', work, '--epochs', epochs, '--batch-size', batch, '--cfg-options',
                   *SMALL, f'default_hooks.slow.seconds={seconds}']
        self.number = tell(*command).split(';')[0].strip()

    def about(self, field: str) -> str:
        """A field of what Slurm says about the job."""
        text = tell('scontrol', 'show', 'job', '--oneliner', self.number)
        return re.search(rf'\b{field}=(\S*)', text).group(1)

    def is_over(self) -> bool:
        return self.about('JobState') in ENDED

    def end(self) -> str:
        """Waits for the end of the job; the state and exit code that Slurm reports."""
        wait(self.is_over, f'job {self.number} to end', 900)
        return f'{self.about("JobState")} {self.about("ExitCode")}'

    def reach(self, step: int) -> None:
        wait(lambda: last_step(self.work) >= step or self.is_over(),
             f'step {step} of job {self.number}', 300)
        must(not self.is_over(), f'job {self.number} was over before step {step}: see {self.log}')

    def killed(self) -> int:
        """Tasks that srun has killed since another one had left."""
        return len(re.findall(r'task \d+: (?:Terminated|Killed)', self.log.read_text()))

    def stopped_by(self) -> str:
        return (self.work / 'stopped_by').read_text().strip()


def tell(*command) -> str:
    done = subprocess.run([str(word) for word in command], cwd=ROOT, capture_output=True,
                          text=True)
    must(done.returncode == 0, f'{command[0]}: {done.stderr.strip()}')
    return done.stdout


def wait(ready: Callable[[], bool], what: str, seconds: float) -> None:
    limit = time.time() + seconds
    while not ready():
        must(time.time() < limit, f'waited {seconds} s for {what}')
        time.sleep(0.5)
