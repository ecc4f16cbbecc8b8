"""Which files a run will load, settled and read safely before it starts."""
from pathlib import Path
from typing import Iterator, List, Optional, Tuple

from mmengine.config import Config

from mmwamim.errors import UserError
from mmwamim.interface.words import option

from .finding import damage, is_first, latest_checkpoint
from .reading import UnsafeFile, check_safe, read_checkpoint, read_header


def settle_resume(cfg: Config, checkpoint: Optional[str], trust: bool = False) -> None:
    """Puts ``--resume`` into the config: a file, or 'auto' for the newest of the work directory.

    MMEngine unpickles without restriction what it cannot load safely. So every file that it will
    load is read here first, where nothing in it is run, and refused if that fails.

    Args:
        cfg: The run's config.
        checkpoint: What --resume says; None without it.
        trust: Whether the user vouches for the file: then it is not read here.

    Raises:
        UserError: The file is not there, is damaged, or holds more than data.
    """
    if checkpoint is None and cfg.get('resume'):  # asked for in the config
        checkpoint = cfg.get('load_from') or 'auto'
    _find_checkpoint(cfg, checkpoint)
    if trust:
        return
    try:
        if cfg.get('load_from'):
            read_checkpoint(cfg.load_from)
        backbone = cfg.model.get('backbone')  # settle_encoder reads its own
        for place, path in _pretrained('model', cfg.model):
            if place != 'model.backbone.init_cfg' or not isinstance(backbone, dict):
                check_safe(path, place)
    except UnsafeFile as error:
        raise UserError(f'{error}. If you know where it comes from, and let it run code on this '
                        f'machine, add {option("trust_checkpoint", True)} (mmwamim train has '
                        'it)') from None
    if cfg.get('resume') and cfg.get('randomness', {}).get('seed') is None:
        seed = read_header(cfg.load_from).get('meta', {}).get('seed')
        cfg.randomness = dict(cfg.get('randomness', {}), seed=seed)


def _pretrained(place: str, value) -> Iterator[Tuple[str, str]]:
    """Place and path of every checkpoint that parts of a config name for their own weights."""
    if isinstance(value, dict):
        if value.get('type') == 'Pretrained' and 'checkpoint' in value:
            yield place, value['checkpoint']
        for name, below in value.items():
            yield from _pretrained(f'{place}.{name}', below)
    elif isinstance(value, (list, tuple)):
        for index, below in enumerate(value):
            yield from _pretrained(f'{place}.{index}', below)


def _own_folder(cfg: Config) -> List[Path]:
    """Where a run writes its checkpoints if that is not the work directory."""
    folder = ((cfg.get('default_hooks') or {}).get('checkpoint') or {}).get('out_dir')
    return [Path(folder) / Path(cfg.work_dir).absolute().name] if folder else []


def _find_checkpoint(cfg: Config, checkpoint: Optional[str]) -> None:
    if checkpoint is None:
        return
    if checkpoint == 'auto':
        found = latest_checkpoint(cfg.work_dir, *_own_folder(cfg))
        cfg.resume = found is not None
        if found is not None:
            cfg.load_from = str(found)
        elif is_first():
            print(f'no checkpoint in {cfg.work_dir}: starting from the beginning')
        return
    if Path(checkpoint).is_dir():  # the work directory of a run, whose last one is meant
        found = latest_checkpoint(checkpoint)
        if found is None:
            raise UserError(f'cannot resume from {checkpoint}: no checkpoint is in this folder')
        checkpoint = str(found)
    problem = damage(checkpoint) if Path(checkpoint).is_file() else 'there is no such file'
    if problem is not None:
        raise UserError(f'cannot resume from {checkpoint}: {problem}')
    cfg.resume, cfg.load_from = True, str(checkpoint)
