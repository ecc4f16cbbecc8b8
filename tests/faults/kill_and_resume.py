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
import signal
import subprocess
import sys
import time
from pathlib import Path

import torch

from mmwamim.engine.checkpoints import read_checkpoint

ROOT = Path(__file__).resolve().parents[2]
CONFIG = 'configs/quickstart/vit_tiny_pretrain.py'
# The config of a task, and what is to be changed for small data.
TASKS = dict(
    pretrain=(CONFIG, [], []),
    finetune=('configs/trials/cifar10_finetune.py', ['--pretrained', 'none'], [
        *[f'{name}_dataloader.dataset.indices=None' for name in ('train', 'val', 'test')],
        'val_dataloader.dataset.data_prefix=val']))


def start(task: str, work: Path, data: Path, epochs: int, port: int,
          resume: bool) -> subprocess.Popen:
    config, options, fields = TASKS[task]
    command = ['tools/dist_train.sh', config, '2', '--data', data, '--epochs', epochs,
               '--batch-size', 4, '--work-dir', work, *(['--resume'] if resume else []), *options,
               '--cfg-options', *fields, 'default_hooks.logger.interval=1',
               'default_hooks.checkpoint.by_epoch=False', 'default_hooks.checkpoint.interval=2']
    environment = {**os.environ, 'PYTHON': sys.executable, 'PYTHONPATH': str(ROOT),
                   'OMP_NUM_THREADS': '1', 'PORT': str(port), 'PYTHONWARNINGS': 'ignore'}
    log = work.with_suffix('.log').open('a')
    return subprocess.Popen([str(part) for part in command], cwd=ROOT, env=environment, stdout=log,
                            stderr=subprocess.STDOUT, start_new_session=True)


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


def kill(process: subprocess.Popen) -> None:
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def run_until(process: subprocess.Popen, work: Path, step: int, while_writing: bool) -> bool:
    """Kills the run once it has logged ``step``, or, a little later, while a checkpoint is being
    written. Returns whether it was killed: False if it came to its end before."""
    writing = []
    while process.poll() is None:
        if last_step(work) >= step:
            writing = list(work.glob('.*.pth.*'))
            if writing or not while_writing:
                kill(process)
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
    if start(args.task, whole, data, args.epochs, args.port, resume=False).wait():
        sys.exit(f'error: the uninterrupted run failed: see {whole.with_suffix(".log")}')
    steps = last_step(whole)
    kills, during, lost = 0, 0, []
    started = time.time()
    for attempt in range(args.kills):
        process = start(args.task, broken, data, args.epochs, args.port + 1 + attempt,
                        resume=attempt > 0)
        before = last_step(broken)
        room = max(steps - before - 2, 1)
        target = before + rng.randint(1, max(min(2 * room // (args.kills - attempt), room), 1))
        while_writing = attempt % 2 == 1
        if not run_until(process, broken, target, while_writing):
            break
        kills, during = kills + 1, during + while_writing
        reached = last_step(broken)
        lost.append(reached)
        left = (time.time() - started) / kills * (args.kills - kills)
        print(f'kill {kills} at step {reached}/{steps}'
              f'{" while a checkpoint was being written" if while_writing else ""}, '
              f'{left:.0f} s left', flush=True)
    code = start(args.task, broken, data, args.epochs, args.port + 99, resume=True).wait()
    final = sorted(whole.glob('iter_*.pth'), key=lambda p: int(p.stem.split('_')[1]))[-1].name
    differing = same(whole / final, broken / final)
    expected, found = losses(whole), losses(broken)
    wrong = [step for step, row in expected.items() if found.get(step) != row]
    result = dict(kills=kills, while_writing=during, exit_code=code, steps=steps,
                  tensors_that_differ=len(differing), steps_whose_losses_differ=len(wrong))
    print(json.dumps(result, indent=2))
    (out / 'result.json').write_text(json.dumps(result, indent=2) + '\n')
    sys.exit(bool(code or differing or wrong))


if __name__ == '__main__':
    main()
