"""From a config file and a command line to the config that is run: what is settled, in order."""
import os
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Callable, Optional, Sequence, Union

from mmengine.config import Config

from mmwamim.errors import UserError
from mmwamim.interface.arguments import plain
from mmwamim.interface.outputs import at_home, check_output_folder
from mmwamim.interface.words import option
from mmwamim.weights.init import settle_init

from ..checkpoints.settling import settle_resume
from ..distributed.processes import settle_launcher, settle_processes
from ..export.arrival import settle_encoder
from .check import check_config, check_trains
from .data import settle_data
from .loaders import add_hook
from .loggers import settle_loggers
from .loop import settle_length, settle_loop
from .reading import read_config, settle_work_dir
from .step import settle_accumulation, settle_precision, settle_sharding, settle_step


@dataclass
class RunOptions:
    """What a command line may say about a run beside its config; ``None`` keeps the config's.

    Args:
        config: A config file.
        data: The folder of the images, or of the data set.
        column: The column of paths or images, where ``data`` is a table or a Hugging Face data set.
        label_column: The column of classes there.
        pretrained: ``encoder.pth`` to fine-tune from, or ``'none'``.
        init: Weights to begin with, of this or another library: a file, a folder of transformers,
            or a name of timm.
        work_dir: Where logs and checkpoints go.
        batch_size: Images per rank and step.
        epochs: Length of the run; warm-up and decay keep their proportions.
        resume: ``'auto'``, or a checkpoint to go on from.
        trust_checkpoint: Loads checkpoints that hold more than data.
        amp: bfloat16, on a GPU also where the config has none; on a CPU only so.
        compile: Mode of ``torch.compile``.
        fsdp: Shares out weights, gradients and optimizer state.
        auto_scale_lr: Scales the learning rate to the batch.
        cfg_options: Fields of the config, by their dotted names.
        launcher: Who started the processes: ``'none'``, ``'pytorch'`` or ``'slurm'``.
        log: Where losses go besides the work directory: ``'tensorboard'``, ``'wandb'``, ...

    Examples:
        >>> RunOptions('configs/wamim/vit_s_300e.py', data='photos', epochs=100).resume is None
        True
    """

    config: str
    data: Optional[str] = None
    column: Optional[str] = None
    label_column: Optional[str] = None
    pretrained: Optional[str] = None
    init: Optional[str] = None
    work_dir: Optional[str] = None
    batch_size: Optional[int] = None
    epochs: Optional[int] = None
    resume: Union[str, None] = None
    trust_checkpoint: bool = False
    amp: bool = False
    compile: Optional[str] = None
    fsdp: bool = False
    auto_scale_lr: bool = False
    cfg_options: Optional[dict] = None
    launcher: str = 'none'
    log: Optional[Sequence[str]] = None

    def __post_init__(self) -> None:
        for one in fields(self):
            setattr(self, one.name, plain(at_home(getattr(self, one.name))))


def settle(options: RunOptions, claim: Optional[Callable[[str], object]] = None) -> Config:
    """The config that MMEngine's runner is built from.

    Args:
        options: What was asked for; nothing is read from the command line.
        claim: Called with the work directory as soon as it is known and there, before anything in
            it is looked at or changed.

    Returns:
        A config of its own, with every default, that starts the same run again.

    Raises:
        UserError: Something does not fit; the message names the field or path and what would.

    Examples:
        >>> options = RunOptions('work_dirs/photos_vit_tiny/vit_tiny_100e.py',  # doctest: +SKIP
        ...                      epochs=3, work_dir='work_dirs/again')
        >>> settle(options).train_cfg.max_epochs  # doctest: +SKIP
        3
    """
    cfg = read_config(options.config, options.cfg_options)
    check_config(cfg)
    check_trains(cfg)
    settle_launcher(options.launcher)
    settle_work_dir(cfg, options.config, options.work_dir)
    _check_apart(cfg.work_dir, options.data)
    left = Path(cfg.work_dir).is_dir()  # by a run before, or one that goes on
    if claim is not None and left:
        claim(cfg.work_dir)
    settle_precision(cfg, options.amp)
    settle_step(cfg)
    settle_loop(cfg)
    settle_length(cfg, options.epochs)
    settle_accumulation(cfg)
    settle_loggers(cfg, options.log)
    if cfg.get('terminal') == 'short':
        add_hook(cfg, dict(type='mmwamim.LiveLineHook'))
    if options.compile:
        add_hook(cfg, dict(type='mmwamim.CompileHook', mode=options.compile))
    if options.fsdp:
        settle_sharding(cfg, options.launcher)
    if options.auto_scale_lr:
        if 'auto_scale_lr' not in cfg:
            raise UserError(f'{option("auto_scale_lr", True)} needs auto_scale_lr.base_batch_size '
                            f'in {options.config}')
        cfg.auto_scale_lr.enable = True
    if options.batch_size is not None:
        if options.batch_size < 1:
            raise UserError(f'{option("batch_size")} must be at least 1, not {options.batch_size}')
        cfg.train_dataloader.batch_size = options.batch_size
    settle_resume(cfg, options.resume, options.trust_checkpoint)
    settle_data(cfg, options.data, column=options.column, label_column=options.label_column)
    if options.init is not None and options.pretrained is not None:
        raise UserError(f'{option("init")} and {option("pretrained")} both name weights: give '
                        'one of them')
    settle_init(cfg, options.init)
    settle_encoder(cfg, options.pretrained)
    settle_processes(cfg, options.launcher)
    check_output_folder(cfg.work_dir, 'work directory')
    if claim is not None and not left:
        claim(cfg.work_dir)
    return cfg


def _check_apart(work_dir: str, data: Optional[str]) -> None:
    """Raises UserError where a run would write among its images; a folder below theirs is left out
    when they are listed."""
    folder = os.path.expanduser(data or '')
    if os.path.isdir(folder) and os.path.realpath(folder) == os.path.realpath(work_dir):
        raise UserError(f'work directory: {work_dir!r} is the folder of the images, and pictures '
                        'that a run draws would be taken for some of them: give another one, such '
                        f'as {os.path.join(work_dir, "run")!r}')
