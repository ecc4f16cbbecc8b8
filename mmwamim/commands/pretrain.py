"""Pre-trains an encoder on a folder of images, without labels.

    mmwamim pretrain FOLDER
    mmwamim pretrain FOLDER --arch vit_s --epochs 300 --out runs/vit_s model.mask_ratio=0.6

What is not given is settled by the images, the memory and the cores, and printed with the reason.
Several GPUs of this machine: --gpus N.
"""
import argparse
import os
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Tuple, Union

from mmengine.config import Config

from mmwamim.datasets.listing import readable_endings
from mmwamim.datasets.sources import Source, name_of_place, open_source
from mmwamim.engine.checkpoints.finding import is_first
from mmwamim.engine.config.channel_data import settle_channels
from mmwamim.engine.config.check import check_trains
from mmwamim.engine.config.data import UNLABELLED
from mmwamim.engine.config.loaders import say
from mmwamim.engine.config.reading import type_name
from mmwamim.engine.config.settle import RunOptions
from mmwamim.engine.distributed.processes import settle_launcher
from mmwamim.engine.run import train
from mmwamim.engine.training.preemption import StopRequest
from mmwamim.errors import UserError
from mmwamim.interface.arguments import settles_arguments

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
from .results import result_of, what_next
from .several import takes_gpus

Path_ = Union[str, Path]
OPTIONS = ('data', 'column', 'arch', 'epochs', 'out', 'init', 'image_size', 'batch_size', 'workers',
           'resume', 'amp', 'compile', 'pictures', 'launcher', 'gpus', 'log')


@takes_gpus
@settles_arguments
def pretrain(data: Path_, *, column: Optional[str] = None, arch: Optional[Path_] = None,
             epochs: Optional[int] = None, out: Optional[Path_] = None,
             init: Optional[Path_] = None, image_size: Optional[int] = None,
             batch_size: Optional[int] = None, workers: Optional[int] = None,
             resume: Union[bool, Path_, None] = False, amp: bool = False,
             compile: Optional[str] = None, pictures: bool = True, launcher: str = 'none',
             gpus: Optional[int] = None, log: Union[str, Sequence[str], None] = None,
             **fields: Any) -> Run:
    """Pre-trains an encoder on a folder of images; what is not given is settled and printed.

    Args:
        data: The folder, nested or not, or a table, tar shards, a Hugging Face data set or LMDB
            (docs/data.md); labels are not read. Of ``train/`` beside ``val/`` only the first is
            taken.
        column: The column of paths or images, where the data have columns.
        arch: Name of an encoder (``'vit_tiny'``, ``'vit_s'``, ``'vit_b'``, ``'swin_b'``), or name
            or path of a config. Default: the smallest, ViT-S where there is a GPU.
        epochs: Length of the run. Default: as in the recipe, more where the set is small.
        out: Where everything is written. Default: ``work_dirs/<folder>_<arch>``.
        init: Weights to begin with: encoder.pth, a file of another library, a folder of
            transformers, or a name of timm (:func:`mmwamim.weights.reading.read_source`). A run
            that is resumed keeps its own.
        image_size: Side of the square crops, in pixels, for the ViT recipes. Default: by the size
            of the images.
        batch_size: Images of a process and step. Default: by memory, and the size of the set.
        workers: Processes that read images, for each process. Default: by the cores.
        resume: Go on from the last checkpoint in ``out``, or from the one given.
        amp: bfloat16 on a GPU, also where the config has none (the recipes have it).
        compile: Mode of ``torch.compile``: ``'default'``, ``'reduce-overhead'``, ...
        pictures: Whether to draw the losses and reconstructions at the end.
        launcher: Who started the processes: ``'none'``, ``'pytorch'`` or ``'slurm'``.
        gpus: Starts so many processes of this machine, each with a GPU, or without GPUs on the CPU.
            They import anew: what only this interpreter has registered is unknown to them.
        log: Where losses go besides ``out``: ``'tensorboard'``, ``'wandb'``, ``'mlflow'``, or
            another backend of MMEngine's visualizer.
        **fields: Of the config, nested, or by dotted names: ``model=dict(mask_ratio=0.6)``.

    Returns:
        The paths of what was written: encoder, checkpoint, log, config, pictures.

    Raises:
        UserError: Something given does not fit; the message names it.
        Preempted: The run was asked to stop, and has saved.

    Examples:
        >>> run = mmwamim.pretrain('photos', arch='vit_tiny', epochs=100)  # doctest: +SKIP
        >>> run.encoder  # doctest: +SKIP
        PosixPath('/home/me/work_dirs/photos_vit_tiny/encoder.pth')
    """
    fields = flatten(fields)
    check_counts(epochs=epochs, batch_size=batch_size, workers=workers, image_size=image_size)
    with as_a_call(trains=True):
        settle_launcher(launcher)
        options = settle_options(
            data, column=column, arch=arch, epochs=epochs, out=out, init=init,
            image_size=image_size, batch_size=batch_size, workers=workers, resume=resume,
            amp=amp, compile=compile, launcher=launcher, log=log, fields=fields)
        runner = train(options)
        return result_of(runner, draw=pictures and is_first())


def settle_options(data: Path_, *, column: Optional[str], arch: Optional[Path_],
                   epochs: Optional[int], out: Optional[Path_], init: Optional[Path_],
                   image_size: Optional[int], batch_size: Optional[int], workers: Optional[int],
                   resume: Union[bool, Path_], amp: bool, compile: Optional[str], launcher: str,
                   log: Union[str, Sequence[str], None], fields: Dict[str, Any]) -> RunOptions:
    """Everything that a run is told, what was not given included, which is printed."""
    endings = (*readable_endings(), '.npy') if fields.get('channels') else None
    images = open_source(str(data), endings=endings, column=column)
    if arch is None:
        first = automatic.choose_arch()
        arch, choices = first.value, [first]
    else:
        choices = []
    config = find_config(arch)
    out = Path(out or Path('work_dirs') / f'{name_of_place(data)}_{Path(arch).stem}')
    left = out / config.name
    if resume and left.is_file():  # settled when the run began
        config = left
    cfg = read_with(config, fields, OPTIONS)
    if type_name((cfg.get('train_dataloader') or {}).get('dataset') or {}) != UNLABELLED:
        raise UserError(f'{config} is no config of pre-training on a folder of images (type of '
                        'train_dataloader.dataset: mmwamim.UnlabelledImages); mmwamim train takes '
                        'any config')
    check_trains(cfg)
    settle_channels(cfg)  # of this copy, which is measured; the run does it again
    changed: Dict[str, Any] = dict(SHORT)
    if config != left:
        more, changed = _settle_rest(cfg, images, fields, changed, epochs=epochs,
                                     image_size=image_size, batch_size=batch_size, workers=workers)
        choices += more
        epochs = next((one.value for one in choices if one.name == 'epochs'), epochs)
    else:
        if image_size is not None:  # nothing if it is that of the run, which refuses another one
            changed.update(automatic.resize(cfg, image_size))
        if workers is not None:
            changed['train_dataloader.num_workers'] = workers
    if choices:
        say(automatic.describe(choices))
    return RunOptions(
        config=str(config), data=str(data), column=column, work_dir=str(out), batch_size=batch_size,
        epochs=epochs, resume=_checkpoint(resume), amp=amp, compile=compile,
        cfg_options={**changed, **fields}, launcher=launcher, log=log,
        init=None if init is None else str(init))


def _settle_rest(cfg: Config, images: Source, fields: Dict[str, Any], changed: Dict[str, Any], *,
                 epochs: Optional[int], image_size: Optional[int], batch_size: Optional[int],
                 workers: Optional[int]) -> Tuple[List[automatic.Choice], Dict[str, Any]]:
    """Image size, batch, workers, epochs, learning rate and checkpoints, in this order: each
    follows from those before it."""
    choices: List[automatic.Choice] = []
    processes = int(os.environ.get('WORLD_SIZE', 1))

    def take(choice: Optional[automatic.Choice]) -> None:
        if choice is not None:
            choices.append(choice)
            changed.update(choice.fields)
            merge(cfg, choice.fields)
            merge(cfg, fields)  # what was given counts

    if image_size is not None:
        take(automatic.Choice('image size', image_size, 'as given',
                              automatic.resize(cfg, image_size)))
    elif not is_given(fields, 'model.backbone.img_size'):
        take(automatic.choose_size(cfg, images))
    if batch_size is None and not is_given(fields, 'train_dataloader.batch_size'):
        take(automatic.choose_batch(automatic.pretraining_memory(cfg), len(images),
                                    processes))
    elif batch_size is not None:
        cfg.train_dataloader.batch_size = batch_size
    if workers is not None:
        changed['train_dataloader.num_workers'] = workers
    elif not is_given(fields, 'train_dataloader.num_workers'):
        take(automatic.choose_workers(cfg))
    batch = min(cfg.train_dataloader.batch_size, len(images) // processes) * processes
    steps = max(len(images) // max(batch, 1), 1)
    if epochs is None and not is_given(fields, 'train_cfg.max_epochs'):
        take(automatic.choose_epochs(cfg, steps))
        epochs = choices[-1].value
    length = epochs or cfg.train_cfg.get('max_epochs') or 0
    if not any(is_given(fields, name) for name in ('optim_wrapper.optimizer.lr', 'auto_scale_lr')):
        counts = (cfg.get('optim_wrapper') or {}).get('accumulative_counts', 1)
        take(automatic.choose_rate(cfg, batch * counts, length * steps))
    if length and not is_given(fields, 'default_hooks.checkpoint'):
        take(automatic.choose_checkpoints(length))
    return choices, changed


def _checkpoint(resume: Union[bool, Path_]) -> Optional[str]:
    """What --resume says: None, 'auto', or a file."""
    if resume is False or resume is None:
        return None
    return 'auto' if resume is True else str(resume)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('data', metavar='FOLDER', help='images, nested or not; or a table, tar '
                        'shards, a Hugging Face data set, LMDB')
    add_columns(parser, labels=False)
    parser.add_argument('--arch', metavar='NAME', help='vit_tiny, vit_s, vit_b, swin_b, or the '
                        'name or path of a config (default: vit_s with a GPU, vit_tiny without)')
    parser.add_argument('--epochs', type=int, metavar='N', help='length of the run (default: as '
                        'in the recipe, more for small sets)')
    parser.add_argument('--out', metavar='DIR', help='where everything is written (default: '
                        'work_dirs/<folder>_<arch>)')
    parser.add_argument('--init', metavar='NAME_OR_FILE', help='weights to begin with: '
                        'encoder.pth, a file of mmpretrain, timm, MAE, SimMIM or DINO, a folder of '
                        'transformers, or a name of timm; a run that is resumed keeps its own')
    parser.add_argument('--image-size', type=int, metavar='PIXELS',
                        help='side of the crops (default: by the size of the images)')
    parser.add_argument('--batch-size', type=int, metavar='N', help='images of a process and step')
    parser.add_argument('--workers', type=int, metavar='N', help='processes that read images')
    parser.add_argument('--resume', nargs='?', const=True, default=False, metavar='CHECKPOINT',
                        help='go on from the last checkpoint in --out, or from CHECKPOINT')
    parser.add_argument('--no-pictures', dest='pictures', action='store_false',
                        help='draw nothing at the end')
    add_training_options(parser)


def run(args: argparse.Namespace) -> None:
    options = vars(args)
    fields = take_fields(options, OPTIONS)
    StopRequest.listen()  # a run that is asked to stop while it starts does so after a step
    written = pretrain(**options, **fields)
    if is_first():
        print(what_next(written))
    StopRequest.leave()
