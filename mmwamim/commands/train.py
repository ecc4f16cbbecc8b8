"""Trains any config: pre-training, classification, detection, segmentation.

    mmwamim train configs/wamim/vit_b_400e.py --data FOLDER
    mmwamim train configs/wamim/vit_b_400e.py --data FOLDER --gpus 8 --log tensorboard

``mmwamim pretrain`` and ``mmwamim finetune`` settle more by themselves.
"""
import argparse
import os
from dataclasses import replace
from typing import Optional

from mmwamim.engine.config.options import FieldAction
from mmwamim.engine.config.settle import RunOptions
from mmwamim.engine.run import train
from mmwamim.engine.training.compile import MODES
from mmwamim.engine.training.preemption import StopRequest

from .architectures import find_config
from .fields import add_columns, add_log
from .several import add_gpus, takes_gpus


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('config', help='config file, or name or path of one of this package')
    parser.add_argument('--data', metavar='FOLDER', help='folder of images to pre-train on, '
                        'nested or not, or ImageNet in its usual layout; for other configs the '
                        'folder of their data set')
    add_columns(parser)
    parser.add_argument('--pretrained', metavar='FILE', help='the encoder to fine-tune from '
                        "(encoder.pth), or 'none' to train from scratch")
    parser.add_argument('--init', metavar='SOURCE', help='weights to begin with: a file of this or '
                        'of another library, a folder of transformers, or a name of timm')
    parser.add_argument('--work-dir', help='where logs and checkpoints go '
                        '(default: work_dirs/<name of the config>)')
    parser.add_argument('--batch-size', type=int, metavar='N', help='images per process and step')
    parser.add_argument('--epochs', type=int, metavar='N',
                        help='length of the run; warm-up and decay keep their proportions')
    parser.add_argument('--resume', nargs='?', const='auto', metavar='CHECKPOINT',
                        help='go on from CHECKPOINT, or from the last one in the work directory')
    parser.add_argument('--trust-checkpoint', action='store_true',
                        help='load checkpoints that hold more than data, and may run code')
    parser.add_argument('--amp', action='store_true',
                        help='bfloat16 mixed precision, on a GPU also where the config has none; '
                        'on a CPU, worth it with AMX, only so')
    parser.add_argument('--compile', nargs='?', const='default', choices=MODES, metavar='MODE',
                        help='compile the step into one graph: minutes at the first step, faster '
                        'ones afterwards; MODE reduce-overhead replays CUDA graphs, for small '
                        'batches')
    parser.add_argument('--fsdp', action='store_true',
                        help='share out weights, gradients and optimizer state among the '
                        'processes, for networks that do not fit a GPU')
    parser.add_argument('--auto-scale-lr', action='store_true',
                        help='scale the learning rate to the batch (the pre-training configs '
                        'always do)')
    parser.add_argument('--cfg-options', nargs='+', action=FieldAction, metavar='KEY=VALUE',
                        help='override fields of the config, as in model.mask_ratio=0.6')
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm'], default='none',
                        help='how the processes were started')
    add_gpus(parser)
    add_log(parser)
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0)


@takes_gpus
def start(options: RunOptions, *, launcher: str = 'none', gpus: Optional[int] = None) -> None:
    """Trains, in this process or in several.

    Args:
        options: Of the run.
        launcher: Who started the processes, instead of what ``options`` say.
        gpus: As of :func:`mmwamim.pretrain`.
    """
    train(replace(options, launcher=launcher))  # parts from the other processes at its end


def options_of(args: argparse.Namespace) -> RunOptions:
    """The options of a run that a command line gives."""
    given = vars(args).copy()
    given.pop('gpus')
    os.environ.setdefault('LOCAL_RANK', str(given.pop('local_rank')))
    return RunOptions(**dict(given, config=str(find_config(args.config))))


def run(args: argparse.Namespace) -> None:
    options = options_of(args)
    StopRequest.listen()  # a run that is asked to stop while it starts does so after its first step
    start(options, launcher=options.launcher, gpus=args.gpus)
    StopRequest.leave()
