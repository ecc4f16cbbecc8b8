"""Kills a run of two CPU processes at random moments, resumes it each time, and compares its end
with that of the run that was never interrupted.

    python -m tests.faults.kill_and_resume --kills 20 --data FOLDER --out DIR
    python -m tests.faults.kill_and_resume --kills 20 --data FOLDER --out DIR --task finetune

For fine-tuning the folder has train/<class>/* and val/<class>/*, and every epoch is validated.
Half of the kills wait for a checkpoint to be under way. Nothing may differ: weights, optimizer
and the losses of every step.
"""
import argparse
import json
import os
import random
import runpy
import signal
import sys
import time
import traceback
from contextlib import suppress
from pathlib import Path

import mmpretrain.datasets  # noqa: F401 - what the forked processes need
import torch

import mmwamim.engine  # noqa: F401
import mmwamim.visualization  # noqa: F401
from mmwamim.engine.checkpoints import read_checkpoint

ROOT = Path(__file__).resolve().parents[2]
PROCESSES = 2
CONFIG = 'configs/quickstart/vit_tiny_pretrain.py'
# The config of a task, and what is to be changed for small data.
TASKS = dict(
    pretrain=(CONFIG, [], []),
    finetune=('configs/trials/cifar10_finetune.py', ['--pretrained', 'none'], [
        *[f'{name}_dataloader.dataset.indices=None' for name in ('train', 'val', 'test')],
        'val_dataloader.dataset.data_prefix=val']))


class Run:
    """Processes of tools/train.py, forked from this one, which has imported what they need."""

    def __init__(self, task: str, work: Path, data: Path, epochs: int, port: int,
                 resume: bool) -> None:
        config, options, fields = TASKS[task]
        command = ['tools/train.py', config, '--data', data, '--epochs', epochs, '--batch-size', 4,
                   '--work-dir', work, *(['--resume'] if resume else []), *options, '--launcher',
                   'pytorch', '--cfg-options', *fields, 'default_hooks.logger.interval=1',
                   'default_hooks.checkpoint.by_epoch=False',
                   'default_hooks.checkpoint.interval=2']
        log = work.with_suffix('.log').open('a')
        self.processes = []
        for rank in range(PROCESSES):
            child = os.fork()
            if child:
                self.processes.append(child)
                continue
            os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(PROCESSES),
                              LOCAL_WORLD_SIZE=str(PROCESSES), MASTER_ADDR='127.0.0.1',
                              MASTER_PORT=str(port))
            for stream in (1, 2):
                os.dup2(log.fileno(), stream)
            _train([str(word) for word in command])

    def is_over(self) -> bool:
        """Whether none of the processes is left."""
        return not any(alive(process) for process in self.processes)

    def wait(self) -> int:
        """The exit code of the first process that failed, or 0."""
        codes = [os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
                 for process in self.processes]
        return next((code for code in codes if code), 0)

    def kill(self) -> None:
        """Kills the processes and their loader workers, and waits until the last one is gone."""
        everyone = [member for process in self.processes for member in family(process)]
        for number in everyone:
            with suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)
        self.wait()
        while any(alive(number) for number in everyone):
            time.sleep(0.01)


def _train(command: list) -> None:
    """What a forked process does, and all that it does."""
    code = 1
    try:
        os.chdir(ROOT)
        sys.argv = command
        runpy.run_path(command[0], run_name='__main__')
        code = 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(code)


def family(process: int) -> list:
    """The numbers of a process and of all that it has started."""
    try:
        below = Path(f'/proc/{process}/task/{process}/children').read_text().split()
    except OSError:
        return []
    return [process, *(number for child in below for number in family(int(child)))]


def alive(process: int) -> bool:
    try:
        return Path(f'/proc/{process}/stat').read_text().rsplit(')', 1)[1].split()[0] != 'Z'
    except OSError:
        return False


def losses(work: Path) -> dict:
    """The loss of every step, whichever attempt computed it last."""
    found = {}
    for path in sorted(work.glob('*/vis_data/scalars.json'), key=lambda p: p.stat().st_mtime):
        for line in path.read_text().splitlines():
            try:
                row = json.loads(line)
            except json.JSONDecodeError:
                continue  # the line that the kill cut
            if 'loss' in row:
                found[row['step']] = {name: value for name, value in row.items()
                                      if name.startswith(('loss', 'lr'))}
    return found


def last_step(work: Path) -> int:
    return max(losses(work), default=0)


def run_until(run: Run, work: Path, step: int, while_writing: bool) -> bool:
    """Kills the run once it has logged ``step``, or, a little later, while a checkpoint is being
    written. Returns whether it was killed: False if it came to its end before."""
    writing = []
    while not run.is_over():
        if last_step(work) >= step:
            writing = list(work.glob('.*.pth.*'))
            if writing or not while_writing:
                run.kill()
                return True
        time.sleep(0.002 if while_writing else 0.05)
    return False


def same(first: Path, second: Path) -> list:
    """What differs between two checkpoints, by name."""
    one, two = read_checkpoint(first), read_checkpoint(second)
    differing = [name for name, value in one['state_dict'].items()
                 if not torch.equal(value, two['state_dict'][name])]
    for key, state in one['optimizer']['state'].items():
        differing += [f'optimizer {key} {name}' for name, value in state.items()
                      if not torch.equal(value, two['optimizer']['state'][key][name])]
    return differing


def main() -> None:
    parser = argparse.ArgumentParser(description='Kill and resume a run many times')
    parser.add_argument('--task', choices=TASKS, default='pretrain')
    parser.add_argument('--kills', type=int, default=20)
    parser.add_argument('--epochs', type=int, default=8)
    parser.add_argument('--data', type=Path, required=True, help='a small folder of images')
    parser.add_argument('--out', type=Path, required=True)
    parser.add_argument('--port', type=int, default=29640)
    args = parser.parse_args()
    data, out = args.data.resolve(), args.out.resolve()
    out.mkdir(parents=True)
    rng = random.Random(0)
    whole, broken = out / 'uninterrupted', out / 'killed'
    if Run(args.task, whole, data, args.epochs, args.port, resume=False).wait():
        sys.exit(f'error: the uninterrupted run failed: see {whole.with_suffix(".log")}')
    steps = last_step(whole)
    kills, during, lost = 0, 0, []
    started = time.time()
    for attempt in range(args.kills):
        run = Run(args.task, broken, data, args.epochs, args.port + 1 + attempt,
                  resume=attempt > 0)
        before = last_step(broken)
        room = max(steps - before - 2, 1)
        target = before + rng.randint(1, max(min(2 * room // (args.kills - attempt), room), 1))
        while_writing = attempt % 2 == 1
        if not run_until(run, broken, target, while_writing):
            break
        kills, during = kills + 1, during + while_writing
        reached = last_step(broken)
        lost.append(reached)
        left = (time.time() - started) / kills * (args.kills - kills)
        print(f'kill {kills} at step {reached}/{steps}'
              f'{" while a checkpoint was being written" if while_writing else ""}, '
              f'{left:.0f} s left', flush=True)
    code = Run(args.task, broken, data, args.epochs, args.port + 99, resume=True).wait()
    final = sorted(whole.glob('iter_*.pth'), key=lambda p: int(p.stem.split('_')[1]))[-1].name
    differing = same(whole / final, broken / final)
    expected, found = losses(whole), losses(broken)
    wrong = [step for step, row in expected.items() if found.get(step) != row]
    resumed = broken.with_suffix('.log').read_text().count(' - Resuming from ')
    result = dict(kills=kills, while_writing=during, resumed=resumed, exit_code=code, steps=steps,
                  tensors_that_differ=len(differing), steps_whose_losses_differ=len(wrong))
    print(json.dumps(result, indent=2))
    (out / 'result.json').write_text(json.dumps(result, indent=2) + '\n')
    sys.exit(bool(code or differing or wrong or resumed < kills - 1))  # the first may be too early


if __name__ == '__main__':
    main()
