"""Trains a model: python tools/train.py CONFIG [--data FOLDER] [options]."""
import argparse
import os
import signal

if __name__ == '__main__':
    # Slurm's signal before the time limit would kill a process that is still importing: it waits
    # until StopRequest listens.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})

from mmengine.config import Config, DictAction

from mmwamim.engine import launch
from mmwamim.engine.checkpoints.settling import settle_resume
from mmwamim.engine.compile import MODES
from mmwamim.engine.config_check import check_config
from mmwamim.engine.data import settle_data
from mmwamim.engine.loaders import add_hook
from mmwamim.engine.runner import TrainingRunner
from mmwamim.engine.sharding import ShardedRunner
from mmwamim.engine.training.preemption import StopRequest
from mmwamim.engine.weights import settle_encoder
from mmwamim.errors import UserError, told_in_one_line


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Train a model')
    parser.add_argument('config', help='config file')
    parser.add_argument('--data', metavar='FOLDER', help='folder of images to pre-train on, '
                        'nested or not, or ImageNet in its usual layout; for other configs the '
                        'folder of their data set')
    parser.add_argument('--pretrained', metavar='FILE', help='the encoder to fine-tune from '
                        "(encoder.pth), or 'none' to train from scratch")
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
                        help='bfloat16 mixed precision on a GPU, also where the config has none')
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
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE',
                        help='override fields of the config, as in model.mask_ratio=0.6')
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm'], default='none',
                        help='who started the processes')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0)
    args = parser.parse_args()
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    return args


def build_config(args: argparse.Namespace) -> Config:
    """The config with the command line merged in."""
    cfg = launch.read_config(args.config, args.cfg_options)
    check_config(cfg)
    launch.settle_launcher(args.launcher)
    launch.settle_work_dir(cfg, args.config, args.work_dir)
    launch.settle_precision(cfg, args.amp)
    launch.settle_step(cfg)
    launch.settle_loop(cfg)
    launch.settle_length(cfg, args.epochs)
    launch.settle_accumulation(cfg)
    if args.compile:
        add_hook(cfg, dict(type='mmwamim.CompileHook', mode=args.compile))
    if args.fsdp:
        launch.settle_sharding(cfg, args.launcher)
    if args.auto_scale_lr:
        if 'auto_scale_lr' not in cfg:
            raise UserError(f'--auto-scale-lr needs auto_scale_lr.base_batch_size in {args.config}')
        cfg.auto_scale_lr.enable = True
    if args.batch_size is not None:
        if args.batch_size < 1:
            raise UserError(f'--batch-size must be at least 1, not {args.batch_size}')
        cfg.train_dataloader.batch_size = args.batch_size
    settle_resume(cfg, args.resume, args.trust_checkpoint)
    settle_data(cfg, args.data)
    settle_encoder(cfg, args.pretrained)
    launch.settle_processes(cfg, args.launcher)
    return cfg


@told_in_one_line()
def main() -> None:
    args = parse_args()
    StopRequest.listen()  # a run that is asked to stop while it starts does so after its first step
    runner = ShardedRunner if args.fsdp else TrainingRunner
    runner.from_cfg(build_config(args)).train()
    launch.part_processes()
    StopRequest.leave()


if __name__ == '__main__':
    main()
