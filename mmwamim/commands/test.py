"""Evaluates a checkpoint on a config's test set.

    mmwamim test configs/classification/vit_s_ft_200e.py work_dirs/vit_s_ft_200e/epoch_200.pth
"""
import argparse
import os
from pathlib import Path
from typing import Optional, Union

import mmengine
from mmengine.evaluator import DumpResults
from mmengine.model import is_model_wrapper

from mmwamim.engine.checkpoints import read_checkpoint
from mmwamim.engine.config.data import checkpoint_classes, settle_data
from mmwamim.engine.config.options import FieldAction
from mmwamim.engine.config.reading import read_config, settle_work_dir
from mmwamim.engine.config.step import settle_precision
from mmwamim.engine.distributed.processes import part_processes, settle_processes
from mmwamim.engine.training.runner import TrainingRunner
from mmwamim.errors import UserError
from mmwamim.interface.arguments import settles_arguments
from mmwamim.interface.outputs import check_output_file
from mmwamim.interface.words import option

from .architectures import find_config
from .fields import add_columns
from .several import add_gpus, takes_gpus

Path_ = Union[str, Path]
ENDINGS = dict(pred=('.pkl', '.pickle'), metrics=('.json', '.yaml', '.yml', '.pkl', '.pickle'))


@takes_gpus
@settles_arguments
def evaluate(config: Path_, checkpoint: Path_, *, data: Optional[Path_] = None,
             column: Optional[str] = None, label_column: Optional[str] = None,
             work_dir: Optional[Path_] = None, out: Optional[Path_] = None, out_item: str = 'pred',
             amp: bool = False, cfg_options: Optional[dict] = None,
             launcher: str = 'none', gpus: Optional[int] = None) -> dict:
    """The metrics of a checkpoint on a config's test set.

    Args:
        config: A config file with a test_dataloader, or name or path of one of this package.
        checkpoint: Of that config.
        data: The folder of its data set.
        column: The column of paths or images, where the data have columns.
        label_column: The column of classes there.
        work_dir: Where logs go.
        out: File for the results: predictions .pkl, metrics .json, too.
        out_item: What goes there: ``'pred'`` or ``'metrics'``.
        amp: float16 on a GPU.
        cfg_options: Fields of the config, by their dotted names.
        launcher: Who started the processes: ``'none'``, ``'pytorch'`` or ``'slurm'``.
        gpus: As of :func:`mmwamim.pretrain`.

    Raises:
        UserError: There is no test set, or the checkpoint is of another model.
    """
    if out:
        endings = ENDINGS.get(out_item, ())
        if not str(out).endswith(endings):
            raise UserError(f'{option("out")} with {option("out_item", out_item)} must end with '
                            f'{" or ".join(endings)}, not {str(out)!r}')
        check_output_file(out)
    config = find_config(config)
    cfg = read_config(config, cfg_options)
    if cfg.get('test_dataloader') is None:
        raise UserError(f'{config} has no test_dataloader, so there is nothing to evaluate; '
                        'for a pre-training checkpoint use mmwamim show or probe')
    # Read here rather than by MMEngine, which runs what a checkpoint holds where it cannot be
    # read safely, and goes on where weights are missing.
    cfg.load_from, cfg.resume = None, False
    state = read_checkpoint(checkpoint)
    settle_data(cfg, None if data is None else str(data), checkpoint_classes(state), column,
                label_column)
    settle_work_dir(cfg, str(config), None if work_dir is None else str(work_dir))
    settle_precision(cfg, amp=False)
    settle_processes(cfg, launcher)
    if amp:
        cfg.test_cfg.fp16 = True
    runner = TrainingRunner.from_cfg(cfg)  # a config that finetune has left says little
    model = runner.model.module if is_model_wrapper(runner.model) else runner.model
    try:
        model.load_state_dict(state['state_dict'], strict=True)
    except RuntimeError as error:  # which lists every parameter, each in a line
        text = ' '.join(str(error).split())
        raise UserError(f'{checkpoint} is not a checkpoint of {config}: {text[:400]}'
                        f'{" ..." if len(text) > 400 else ""}') from error
    if out and out_item == 'pred':
        runner.test_evaluator.metrics.append(DumpResults(out_file_path=str(out)))
    metrics = runner.test()
    if out and out_item == 'metrics':
        mmengine.dump(metrics, str(out))
    part_processes()
    return metrics


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('config', help='config file with a test_dataloader, or name or path of '
                        'one of this package')
    parser.add_argument('checkpoint', help='checkpoint of that config')
    parser.add_argument('--data', metavar='FOLDER', help='the folder of its data set')
    add_columns(parser)
    parser.add_argument('--work-dir', help='where logs go')
    parser.add_argument('--out', help='file for the results: predictions .pkl, metrics '
                        '.json, too')
    parser.add_argument('--out-item', choices=['metrics', 'pred'], default='pred',
                        help='what to write to --out')
    parser.add_argument('--amp', action='store_true', help='float16 on a GPU')
    parser.add_argument('--cfg-options', nargs='+', action=FieldAction, metavar='KEY=VALUE',
                        help='override fields of the config')
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm'], default='none')
    add_gpus(parser)
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0)


def run(args: argparse.Namespace) -> None:
    options = vars(args).copy()
    os.environ.setdefault('LOCAL_RANK', str(options.pop('local_rank')))
    evaluate(**options)
