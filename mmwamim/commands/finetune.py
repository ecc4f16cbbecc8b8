"""Fine-tunes a pre-trained encoder as a classifier of images.

    mmwamim finetune ENCODER FOLDER
    mmwamim finetune ENCODER FOLDER --epochs 50 --out runs/pets train_dataloader.batch_size=64

FOLDER holds train/<class>/* and val/<class>/* (or validation/, test/ and the like), or a table, tar
shards, a Hugging Face data set or LMDB for each of them. Where there is no split to validate with
(train/<class>/* alone, <class>/*, one table), a fifth of each class is held out, always the same
images, and no file is copied. The recipe is that of the encoder's kind and size;
--arch names another config of configs/classification. For detection and segmentation see
``mmwamim train --help``.
"""
import argparse
import os
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Union

import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from torch import nn

from mmwamim.datasets.held_out import PARTS, SHARE, describe, rows_of, without_validation
from mmwamim.datasets.listing import NoImages, printable, readable_endings
from mmwamim.datasets.sources import name_of_place, open_source
from mmwamim.engine.checkpoints.finding import is_first
from mmwamim.engine.config.channel_data import check_channels
from mmwamim.engine.config.loaders import LOADERS, say
from mmwamim.engine.config.settle import RunOptions
from mmwamim.engine.distributed.processes import settle_launcher
from mmwamim.engine.export.programs import load_encoder, run_config
from mmwamim.engine.run import train
from mmwamim.engine.training.preemption import StopRequest
from mmwamim.evaluation.features import image_size
from mmwamim.interface.arguments import settles_arguments
from mmwamim.interface.command_line import command_line, short_path

from . import automatic
from .architectures import find_config
from .calls import SHORT, Run, as_a_call
from .fields import (
    add_columns,
    add_training_options,
    check_counts,
    flatten,
    is_given,
    merge,
    read_with,
    take_fields,
)
from .recipes import encoder_fields, recipe_for
from .results import result_of, written_files
from .several import takes_gpus

Path_ = Union[str, Path]
OPTIONS = ('encoder', 'data', 'column', 'label_column', 'arch', 'epochs', 'out', 'batch_size',
           'workers', 'scratch', 'resume', 'amp', 'compile', 'launcher', 'gpus', 'log')
STEPS = dict(cuda=5_000, cpu=300)  # at least, as in automatic.STEPS


@takes_gpus
@settles_arguments
def finetune(encoder: Path_, data: Path_, *, column: Optional[str] = None,
             label_column: Optional[str] = None, arch: Optional[Path_] = None,
             epochs: Optional[int] = None, out: Optional[Path_] = None,
             batch_size: Optional[int] = None, workers: Optional[int] = None,
             scratch: bool = False, resume: Union[bool, Path_, None] = False, amp: bool = False,
             compile: Optional[str] = None, launcher: str = 'none', gpus: Optional[int] = None,
             log: Union[str, Sequence[str], None] = None, **fields: Any) -> Run:
    """Fine-tunes a pre-trained encoder as a classifier; what is not given is settled and printed.

    Args:
        encoder: encoder.pth, or a full checkpoint of pre-training or fine-tuning.
        data: Holds train/<class>/* and val/<class>/*, or a table, tar shards, a Hugging Face data
            set or LMDB for each split (docs/data.md). Of a place without a split to validate with
            a fifth of each class is held out.
        column: The column of paths or images, where the data have columns.
        label_column: The column of classes there.
        arch: Name or path of a config of classification. Default: by the encoder.
        epochs: Length of the run. Default: as in the recipe, more where the set is small.
        out: Where everything is written. Default: ``work_dirs/<folder>_finetune``.
        batch_size: Images of a process and step. Default: by memory, and the size of the set.
        workers: Processes that read images. Default: by the cores.
        scratch: The same network, without the encoder's weights, to compare with.
        resume: Go on from the last checkpoint in ``out``, or from the one given.
        amp: bfloat16 on a GPU, also where the config has none (the recipes have it).
        compile: Mode of ``torch.compile``.
        launcher: Who started the processes: ``'none'``, ``'pytorch'`` or ``'slurm'``.
        gpus: As of :func:`mmwamim.pretrain`.
        log: See ``gpus``.
        **fields: Of the config, nested, or by dotted names.

    Returns:
        The paths of what was written; ``metrics['accuracy/top1']`` is the last accuracy, in
        percent.

    Raises:
        UserError: Something given does not fit; the message names it.
        Preempted: The run was asked to stop, and has saved.

    Examples:
        >>> run = mmwamim.finetune('encoder.pth', 'pets', epochs=50)  # doctest: +SKIP
        >>> run.metrics['accuracy/top1']  # doctest: +SKIP
        91.2
    """
    fields = flatten(fields)
    check_counts(epochs=epochs, batch_size=batch_size, workers=workers)
    with as_a_call(trains=True):
        settle_launcher(launcher)
        network = load_encoder(encoder)
        source = run_config(encoder)
        config = find_config(arch or recipe_for(network, source), 'classification')
        out = Path(out or Path('work_dirs') / f'{name_of_place(data)}_finetune')
        if resume and (out / config.name).is_file():
            config, changed = out / config.name, _workers(workers)
        else:
            cfg = read_with(config, fields, OPTIONS)
            changed = settle_fields(cfg, network, source, data, fields, column=column,
                                    label_column=label_column, epochs=epochs,
                                    batch_size=batch_size, workers=workers)
            epochs = changed.pop('epochs')
        runner = train(RunOptions(
            config=str(config), data=str(data), column=column,
            label_column=label_column, pretrained='none' if scratch else str(encoder),
            work_dir=str(out), batch_size=batch_size, epochs=epochs,
            resume=None if not resume else 'auto' if resume is True else str(resume), amp=amp,
            compile=compile, cfg_options={**SHORT, **changed, **fields},
            launcher=launcher, log=log))
        return result_of(runner, draw=is_first())


def settle_fields(cfg: Config, encoder: nn.Module, source: Config, data: Path_,
                  fields: Dict[str, Any], *, column: Optional[str] = None,
                  label_column: Optional[str] = None, epochs: Optional[int],
                  batch_size: Optional[int], workers: Optional[int]) -> Dict[str, Any]:
    """The fields that fit a recipe to an encoder, a data set and this machine; printed, with
    ``epochs`` among them."""
    changed = encoder_fields(cfg, encoder, source)
    merge(cfg, changed)
    merge(cfg, fields)  # what was given counts
    if cfg.get('channels') is None:
        check_channels(cfg)  # before the memory of a step is measured
    endings = (*readable_endings(), '.npy') if source.get('channels') else None
    images = _settle_split(data, fields, changed, endings, column, label_column)
    processes = int(os.environ.get('WORLD_SIZE', 1))
    choices: List[automatic.Choice] = []

    def take(choice: Optional[automatic.Choice]) -> None:
        if choice is not None:
            choices.append(choice)
            changed.update(choice.fields)

    if batch_size is None and not is_given(fields, 'train_dataloader.batch_size'):
        take(automatic.choose_batch(_memory(cfg, encoder), images, processes))
    batch = batch_size or changed.get('train_dataloader.batch_size') or \
        cfg.train_dataloader.batch_size
    if workers is None and is_given(fields, 'train_dataloader.num_workers'):
        workers = cfg.train_dataloader.get('num_workers', 0)
    elif workers is None:
        take(automatic.choose_workers(cfg))
        workers = choices[-1].value
    changed.update(_workers(workers))
    batch = max(min(batch, images // processes), 1) * processes
    steps = max(images // batch, 1)
    if epochs is None and not is_given(fields, 'train_cfg.max_epochs'):
        take(automatic.choose_epochs(cfg, steps, STEPS))
        epochs = choices[-1].value
    length = epochs or cfg.train_cfg.get('max_epochs') or 0
    if not any(is_given(fields, name) for name in ('optim_wrapper.optimizer.lr', 'auto_scale_lr')):
        counts = (cfg.get('optim_wrapper') or {}).get('accumulative_counts', 1)
        take(automatic.choose_rate(cfg, batch * counts, length * steps))
    if length and not is_given(fields, 'default_hooks.checkpoint'):
        take(automatic.choose_checkpoints(length))
        changed['train_cfg.val_interval'] = changed.get('default_hooks.checkpoint.interval', 1)
    if choices:
        say(automatic.describe(choices))
    return dict(changed, epochs=epochs)


def _workers(workers: Optional[int]) -> Dict[str, Any]:
    """The fields of ``--workers``, which validation follows; none where it was not given."""
    return {} if workers is None else {f'{name}.num_workers': workers for name in LOADERS}


def _settle_split(data: Path_, fields: Dict[str, Any], changed: Dict[str, Any],
                  endings: Optional[Sequence[str]], column: Optional[str],
                  label_column: Optional[str]) -> int:
    """Fields that hold a part of the images out where there is no split to validate with; the
    number of images to train on."""
    named = any(is_given(fields, f'{name}.dataset.{field}') for name in LOADERS
                for field in ('data_prefix', 'data_root', 'ann_file', 'held_out'))
    prefix = None if named else without_validation(data)
    part = 'train' if prefix is None else prefix
    try:
        source = open_source(str(data), part, True, None, endings, column, label_column)
    except NoImages as error:
        raise NoImages(f'{error}; or give classes alone, {printable(data)}/<class>/*') from None
    if prefix is None:
        return len(source)
    say(describe(data, prefix))
    for name in LOADERS:
        changed.update({f'{name}.dataset.data_prefix': prefix, f'{name}.dataset.held_out': SHARE,
                        f'{name}.dataset.takes': PARTS[name != 'train_dataloader']})
    return len(rows_of(source.labels, source.names(), SHARE, PARTS[0]))


def _memory(cfg: Config, encoder: nn.Module) -> tuple:
    """As :func:`automatic.pretraining_memory`, of the classifier's backbone."""
    with torch.random.fork_rng(devices=[]), DefaultScope.overwrite_default_scope('mmpretrain'):
        backbone = MODELS.build({**cfg.model.backbone, 'init_cfg': None}).to(automatic.place())
        images = torch.zeros(2, encoder.patch_embed.projection.in_channels, *image_size(encoder),
                             device=automatic.place())
        return automatic.memory_of(lambda: backbone(images)[-1].sum(), backbone, 2)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('encoder', metavar='ENCODER', help='encoder.pth or epoch_N.pth')
    parser.add_argument('data', metavar='FOLDER', help='holds train/<class>/* and val/<class>/*, '
                        'or classes alone; or a table, tar shards, a Hugging Face data set, LMDB')
    add_columns(parser)
    parser.add_argument('--arch', metavar='CONFIG', help='name or path of a config of '
                        'configs/classification (default: by the encoder)')
    parser.add_argument('--epochs', type=int, metavar='N', help='length of the run (default: as in '
                        'the recipe, more for small sets)')
    parser.add_argument('--out', metavar='DIR', help='where everything is written (default: '
                        'work_dirs/<folder>_finetune)')
    parser.add_argument('--batch-size', type=int, metavar='N', help='images of a process and step')
    parser.add_argument('--workers', type=int, metavar='N', help='processes that read images')
    parser.add_argument('--scratch', action='store_true',
                        help="without the encoder's weights, to compare with")
    parser.add_argument('--resume', nargs='?', const=True, default=False, metavar='CHECKPOINT',
                        help='go on from the last checkpoint in --out, or from CHECKPOINT')
    add_training_options(parser)


def run(args: argparse.Namespace) -> None:
    options = vars(args)
    fields = take_fields(options, OPTIONS)
    StopRequest.listen()
    written = finetune(**options, **fields)
    if is_first():
        for name, value in written.metrics.items():
            if name.startswith('accuracy'):
                print(f'{name}: {value:.2f} %')
        print('\n'.join(written_files(written)))
        if written.checkpoint:
            files = map(short_path, (written.config, written.checkpoint))
            print(f'Next:\n  {command_line("test", *files)}')
    StopRequest.leave()
