"""Evaluates a checkpoint on a config's test set: python tools/test.py CONFIG CHECKPOINT."""
import argparse
import os

import mmengine
from mmengine.config import DictAction
from mmengine.evaluator import DumpResults
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner

from mmwamim.engine.checkpoints import read_checkpoint
from mmwamim.engine.config.data import checkpoint_classes, settle_data
from mmwamim.engine.config.reading import read_config, settle_work_dir
from mmwamim.engine.config.step import settle_precision
from mmwamim.engine.distributed.processes import settle_processes
from mmwamim.errors import UserError, told_in_one_line


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Evaluate a checkpoint')
    parser.add_argument('config', help='config file with a test_dataloader')
    parser.add_argument('checkpoint', help='checkpoint of that config')
    parser.add_argument('--data', metavar='FOLDER', help='the folder of its data set')
    parser.add_argument('--work-dir', help='where logs go')
    parser.add_argument('--out', help='file for the results, .pkl or .json')
    parser.add_argument('--out-item', choices=['metrics', 'pred'], default='pred',
                        help='what to write to --out')
    parser.add_argument('--amp', action='store_true', help='float16 on a GPU')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE',
                        help='override fields of the config')
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm'], default='none')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0)
    args = parser.parse_args()
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    return args


@told_in_one_line()
def main() -> None:
    args = parse_args()
    cfg = read_config(args.config, args.cfg_options)
    if cfg.get('test_dataloader') is None:
        raise UserError(f'{args.config} has no test_dataloader, so there is nothing to evaluate; '
                        'for a pre-training checkpoint see tools/analysis/show_reconstruction.py')
    # Read here rather than by MMEngine, which runs what a checkpoint holds where it cannot be
    # read safely, and goes on where weights are missing.
    cfg.load_from, cfg.resume = None, False
    checkpoint = read_checkpoint(args.checkpoint)
    settle_data(cfg, args.data, checkpoint_classes(checkpoint))
    settle_work_dir(cfg, args.config, args.work_dir)
    settle_precision(cfg, amp=False)
    settle_processes(cfg, args.launcher)
    if args.amp:
        cfg.test_cfg.fp16 = True
    runner = Runner.from_cfg(cfg)
    model = runner.model.module if is_model_wrapper(runner.model) else runner.model
    try:
        model.load_state_dict(checkpoint['state_dict'], strict=True)
    except RuntimeError as error:
        raise UserError(f'{args.checkpoint} is not a checkpoint of {args.config}: {error}'
                        ) from error
    if args.out and args.out_item == 'pred':
        runner.test_evaluator.metrics.append(DumpResults(out_file_path=args.out))
    metrics = runner.test()
    if args.out and args.out_item == 'metrics':
        mmengine.dump(metrics, args.out)


if __name__ == '__main__':
    main()
