"""From unlabelled pictures to a pre-trained encoder, pictures of it, and what it is good for.

    mmwamim quickstart
    mmwamim quickstart --epochs 5 --seeds 1 --out first_look

1. writes the handwritten digits that ship in scikit-learn as pictures: 1,197 to pre-train on, 600
   of other writers to test with;
2. pre-trains a tiny ViT on them without labels, through tools/dist_train.sh, as a cluster run would
   be started;
3. draws the loss curve and reconstructions of test digits, which training never saw;
4. asks what two labels a digit are enough for, from the checkpoint and from scratch: a linear probe
   of the frozen encoder, and fine-tuning of the stock mmpretrain VisionTransformer, with the same
   labelled pictures, steps and seeds.
"""
import argparse
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, Optional, Tuple, Union

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from mmwamim.engine.config.reading import read_config
from mmwamim.errors import UserError
from mmwamim.evaluation.few_labels import compare_few_labels
from mmwamim.interface.arguments import settles_arguments
from mmwamim.interface.command_line import command_line, short_path
from mmwamim.machine.cores import granted_cores
from mmwamim.visualization import draw_losses

from .architectures import configs_folder
from .calls import as_a_call, quiet_logger
from .fields import check_counts
from .show import reconstruct

SIZE, TESTED = 64, 600  # scikit-learn keeps a writer's digits together
# Epoch, step of how many, time left and loss in a line of MMEngine's log.
PROGRESS = re.compile(r'Epoch\(train\)\s+\[\s*(\d+)\]\[\s*(\d+/\d+)\].*?eta: (.*?)  .*?'
                      r'\bloss: (\S+)')


@dataclass(frozen=True)
class Quickstart:
    """What the quick start made."""

    encoder: Path
    checkpoint: Path
    loss_curve: Path
    reconstruction: Path
    few_labels: Path
    """The figures of ``result``, .json."""
    result: dict
    """See :func:`mmwamim.evaluation.few_labels.compare_few_labels`."""
    seconds: float


@settles_arguments
def quickstart(out: Union[str, Path] = 'quickstart', *, epochs: int = 40, labels: int = 2,
               steps: int = 50, seeds: int = 5, processes: Optional[int] = None) -> Quickstart:
    """Pre-trains a tiny ViT on scikit-learn's digits and looks at it.

    Args:
        out: Folder for pictures, run and figures.
        epochs: Of pre-training.
        labels: Labelled pictures of each digit.
        steps: Of fine-tuning.
        seeds: Of labelled pictures, new layers and augmentation.
        processes: Of pre-training. Default: one a core, at most 2.

    Returns:
        The paths of what was written, and ``result``: accuracies in percent, with pre-training and
        from scratch.

    Raises:
        UserError: scikit-learn is missing, or pre-training failed.

    Examples:
        >>> mmwamim.quickstart(  # doctest: +SKIP
        ...     epochs=5, seeds=1).result['checkpoint']['fine-tuning']['mean']
        41.2
    """
    check_counts(epochs=epochs, labels=labels, steps=steps, seeds=seeds, processes=processes)
    out, started = Path(out), time.time()

    def stage(number: int, text: str) -> None:
        print(f'[{number}/4, {time.time() - started:.0f} s] {text}', flush=True)

    stage(1, 'writing the handwritten digits of scikit-learn as pictures')
    splits = write_digits(out / 'digits')
    stage(2, f'pre-training without labels, {epochs} epochs, log in {out}/pretrain.log')
    pretrain(out, epochs, processes or min(granted_cores(), 2))
    stage(3, 'drawing')
    config, checkpoint = read_config(config_path()), out / f'run/epoch_{epochs}.pth'
    curve, picture, figures = (
        out / name for name in ('loss_curve.png', 'reconstruction.png', 'few_labels.json'))
    with as_a_call(), quiet_logger():  # no list of initialised weights
        draw_losses([out / 'run'], curve)
        print(f'wrote {curve}')
        reconstruct(checkpoint, config, out / 'digits/test', 6, 0, picture)
        print(f'wrote {picture}')
        stage(4, f'{labels} labels a digit, from the checkpoint and from scratch, {seeds} seeds')
        result = compare_few_labels(config, out / 'run/encoder.pth', splits, labels, steps, seeds)
    figures.write_text(json.dumps(result, indent=2) + '\n')
    return Quickstart(out / 'run/encoder.pth', checkpoint, curve, picture, figures, result,
                      time.time() - started)


def own_command() -> str:
    """``mmwamim``, for the shell: the one of an environment that lies here, or else as usual."""
    beside = short_path(Path(sys.executable).with_name('mmwamim'))
    here = beside.is_file() and not beside.is_absolute()
    return shlex.quote(str(beside)) if here else command_line()


def config_path() -> Path:
    """The config of the run, from here if it lies below."""
    return short_path(configs_folder() / 'quickstart/digits.py')


def write_digits(out: Path) -> Dict[str, Tuple[Tensor, Tensor]]:
    """Writes out/train/*.png and out/test/*.png.

    Returns:
        For each split its pictures, uint8 (N, 3, SIZE, SIZE), and their digits, int64 (N,).

    Raises:
        UserError: scikit-learn is missing.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise UserError("scikit-learn is missing: pip install 'mmwamim[quickstart]'") from None
    digits = load_digits()  # 8x8 counts from 0 to 16
    splits = {}
    for name, chosen in dict(train=slice(TESTED, None), test=slice(TESTED)).items():
        shutil.rmtree(out / name, ignore_errors=True)
        (out / name).mkdir(parents=True)
        pictures = []
        for number, counts in enumerate(digits.images[chosen]):
            grey = Image.fromarray(np.uint8(counts * (255 / 16)))
            picture = grey.resize((SIZE, SIZE), Image.BICUBIC).convert('RGB')
            picture.save(out / name / f'{number:04d}.png')
            pictures.append(torch.from_numpy(np.array(picture)).permute(2, 0, 1))
        splits[name] = torch.stack(pictures), torch.from_numpy(digits.target[chosen])
    return splits


def pretrain(out: Path, epochs: int, processes: int) -> None:
    """Starts training as on a cluster, and prints how far it is.

    Raises:
        UserError: It failed; the message ends with the last lines of its log.
    """
    script = configs_folder().parent / 'tools/dist_train.sh'
    command = [str(script), str(config_path()), str(processes), '--data', str(out / 'digits/train'),
               '--work-dir', str(out / 'run'), '--epochs', str(epochs)]
    print('$', shlex.join(command), flush=True)
    log = out / 'pretrain.log'
    shutil.rmtree(out / 'run', ignore_errors=True)
    environment = dict(os.environ, PYTHON=sys.executable, PYTHONWARNINGS='ignore')
    with log.open('w') as file:
        process = subprocess.Popen(command, env=environment, text=True, stdout=subprocess.PIPE,
                                   stderr=subprocess.STDOUT)
        for line in process.stdout:
            file.write(line)
            found = PROGRESS.search(line)
            if found:
                print('  epoch {}, step {}  {} left  loss {}'.format(*found.groups()), flush=True)
    if process.wait():
        raise UserError(f'pre-training failed, the reason is at the end of {log}:\n'
                        + ''.join(log.read_text().splitlines(keepends=True)[-15:]))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--out', type=Path, default=Path('quickstart'))
    parser.add_argument('--epochs', type=int, default=40, help='of pre-training')
    parser.add_argument('--labels', type=int, default=2, help='labelled pictures of each digit')
    parser.add_argument('--steps', type=int, default=50, help='of fine-tuning')
    parser.add_argument('--seeds', type=int, default=5)
    parser.add_argument('--processes', type=int, default=min(granted_cores(), 2))


def run(args: argparse.Namespace) -> None:
    made = quickstart(**vars(args))
    result = made.result
    print(f'''
Done in {made.seconds:.0f} s.
{result['task']}; chance 10 %, mean of {args.seeds} seeds:''')
    for way, ours in result['checkpoint'].items():
        scratch = result['scratch'][way]
        print(f'  {way:<13} from the checkpoint {ours["mean"]} % (spread {ours["spread"]}), from '
              f'scratch {scratch["mean"]} % ({scratch["spread"]}): pre-training bought '
              f'{ours["mean"] - scratch["mean"]:+.1f} points')
    print(f'''  loss curve       {short_path(made.loss_curve)}
  reconstructions  {short_path(made.reconstruction)}
  these figures    {short_path(made.few_labels)}
  encoder          {short_path(made.encoder)}
The same on your own images (any folder, nested or not):
  {own_command()} pretrain FOLDER''')
