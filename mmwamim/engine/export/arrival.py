"""Makes sure that a pre-trained encoder is loaded into the model that is fine-tuned.

MMEngine loads what fits, warns about the rest and trains on. Here every key of the backbone must
be accounted for: a difference that is not on the written list below is an error, before the
first step.
"""
import re
from pathlib import Path
from typing import Dict, List, NamedTuple, Tuple, Union

import torch
from mmengine.config import Config
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.registry import MODELS, DefaultScope
from mmengine.runner import Runner
from torch import Tensor

from mmwamim.errors import UserError
from mmwamim.interface.words import option
from mmwamim.registry import HOOKS

from ..checkpoints import read_checkpoint
from ..checkpoints.reading import check_safe
from ..config.loaders import add_hook
from ..config.reading import is_type
from ..distributed.sharding import gather

PREFIX = 'backbone.'
# New in the model, and rightly not in the checkpoint.
MAY_BE_MISSING = (
    r'ln2\.(weight|bias)',  # ViT: the norm after mean pooling
)
# Likewise, if the checkpoint has none of them: what a ViT may be given for a task.
MAY_BE_ADDED = (
    r'layers\.\d+\.gamma_[12]',  # LayerScale
    r'layers\.\d+\.attn\.relative_position_bias_table',
)
# In the checkpoint, and rightly not in the model.
MAY_BE_LEFT_OVER = (
    r'ln1\.(weight|bias)',  # ViT: the final norm, which pre-training does not reach
    r'norm[0-2]\.(weight|bias)',  # Swin: norms of stages that a classifier does not use
    r'mask_token',  # of mmpretrain's encoders that put it in at the start
)
# Interpolated where sizes differ.
MAY_BE_RESIZED = (
    r'(absolute_)?pos_embed',
    r'.*relative_position_bias_table',
)
# Not learnt: follows from the window's size.
CONSTANT = (r'.*relative_position_index', )


class Comparison(NamedTuple):
    """Names that differ, and the resized ones as (name, shape there, shape here)."""
    missing: List[str]
    left_over: List[str]
    reshaped: List[str]
    resized: List[Tuple[str, tuple, tuple]]


def _matches(name: str, patterns: Tuple[str, ...]) -> bool:
    return any(re.fullmatch(pattern, name) for pattern in patterns)


def compare(checkpoint: Dict[str, Tensor], model: Dict[str, Tensor]) -> Comparison:
    """Compares the state dicts of two encoders, names without prefix.

    Returns:
        What is missing, left over or of another shape and not on the lists of this module, and
        what will be resized.
    """
    may_be_missing = MAY_BE_MISSING + CONSTANT
    if not any(_matches(name, MAY_BE_ADDED) for name in checkpoint):
        may_be_missing += MAY_BE_ADDED
    missing = [name for name in model if name not in checkpoint
               and not _matches(name, may_be_missing)]
    left_over = [name for name in checkpoint if name not in model
                 and not _matches(name, MAY_BE_LEFT_OVER + CONSTANT)]
    reshaped, resized = [], []
    for name in model:
        if name not in checkpoint or checkpoint[name].shape == model[name].shape:
            continue
        there, here = tuple(checkpoint[name].shape), tuple(model[name].shape)
        if _matches(name, CONSTANT):
            continue
        if _matches(name, MAY_BE_RESIZED) and there[-1] == here[-1]:
            resized.append((name, there, here))
        else:
            reshaped.append(f'{name} {there} instead of {here}')
    return Comparison(missing, left_over, reshaped, resized)


def read_encoder(path: Union[str, Path], prefix: str = PREFIX) -> Dict[str, Tensor]:
    """The encoder's tensors of a checkpoint, names without prefix.

    Raises:
        MissingFile: There is no such file.
        UserError: The file is no checkpoint, or has no encoder.
    """
    state = read_checkpoint(path)['state_dict']
    encoder = {name[len(prefix):]: value for name, value in state.items()
               if isinstance(name, str) and name.startswith(prefix) and isinstance(value, Tensor)}
    if not encoder:
        first = ', '.join(map(str, list(state)[:3])) or 'none'
        raise UserError(f'{str(path)!r} has no key that begins with {prefix!r} (its first keys: '
                        f'{first}): it is not a checkpoint of an encoder pre-trained here')
    return encoder


def read_fitting(path: Union[str, Path], backbone: torch.nn.Module,
                 prefix: str = PREFIX) -> Tuple[Dict[str, Tensor], List[str]]:
    """Reads an encoder and checks that it belongs to a backbone.

    Returns:
        Its tensors as :func:`read_encoder` gives them, and a line for every parameter that will be
        resized.

    Raises:
        MissingFile, UserError: As :func:`read_encoder`.
        UserError: Keys or shapes differ; the message names the first of each kind.
    """
    encoder = read_encoder(path, prefix)
    found = compare(encoder, backbone.state_dict())
    wrong = [f'{len(names)} {kind} ({", ".join(names[:3])}{", ..." if len(names) > 3 else ""})'
             for kind, names in (('missing', found.missing), ('left over', found.left_over),
                                 ('of another shape', found.reshaped)) if names]
    if wrong:
        raise UserError(f'{str(path)!r} is not a checkpoint of this {type(backbone).__name__}; '
                        f'parameters: {"; ".join(wrong)}')
    return encoder, [f'{name} is interpolated from {there} to {here}'
                     for name, there, here in found.resized]


def settle_encoder(cfg: Config, path: str = None) -> None:
    """Puts ``--pretrained`` into a fine-tuning config, and checks the file before anything starts.

    What a config names itself is compared where it has an :class:`EncoderLoadedHook`, as ours
    have; networks of others are left to MMEngine, once their file is known to hold nothing but
    data.

    Raises:
        UserError: The config takes no checkpoint, or the file does not belong to its backbone.
    """
    backbone = cfg.model.get('backbone', {})
    init_cfg = backbone.get('init_cfg')
    if not isinstance(init_cfg, dict) or not is_type(init_cfg, 'Pretrained'):
        if path not in (None, 'none'):
            raise UserError(f'{option("pretrained")} works with configs whose model.backbone has '
                             "init_cfg=dict(type='Pretrained', ...)")
        return
    if path == 'none':  # from scratch, said aloud
        backbone.init_cfg = None
        cfg.custom_hooks = [hook for hook in cfg.get('custom_hooks') or []
                            if not is_type(hook, 'EncoderLoadedHook')]
        return
    if path is not None:
        init_cfg.checkpoint = path
        add_hook(cfg, dict(type='mmwamim.EncoderLoadedHook'))
    if cfg.get('resume'):  # its own checkpoint has everything
        return
    if not any(is_type(hook, 'EncoderLoadedHook') for hook in cfg.get('custom_hooks') or []):
        check_safe(init_cfg.checkpoint, 'model.backbone.init_cfg')
        return
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope') or 'mmpretrain'):
        empty = MODELS.build({**backbone, 'init_cfg': None})
    try:
        read_fitting(init_cfg.checkpoint, empty, _prefix(init_cfg))
    except (FileNotFoundError, ValueError) as error:
        raise UserError(f'{error}; give one with {option("pretrained", "FILE")}, or '
                        f'{option("pretrained", "none")} to train from scratch') from None


def _prefix(init_cfg: dict) -> str:
    """Of the names that MMEngine loads, which adds a dot where there is none."""
    prefix = init_cfg.get('prefix') or ''
    return prefix if not prefix or prefix.endswith('.') else f'{prefix}.'


@HOOKS.register_module(name=['EncoderLoadedHook', 'EncoderArrivedHook'])
class EncoderLoadedHook(Hook):
    """Stops a run whose backbone, before its first step, is not the checkpoint it names.

    The values themselves are compared, and logged to be equal. Runs that are resumed are left
    alone: they have moved on.

    Raises:
        UserError: Before the first step: names or shapes differ.
        RuntimeError: Before the first step: values differ, although the file was loaded.

    Examples:
        >>> custom_hooks = [dict(type='mmwamim.EncoderLoadedHook')]  # in a config
    """

    priority = 'VERY_HIGH'

    def before_train(self, runner: Runner) -> None:
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        backbone = model.backbone
        init_cfg = backbone.init_cfg
        if runner._resume or runner._load_from or not init_cfg:
            return
        state = gather(backbone.state_dict())  # by all processes: it may be shared out
        if not is_main_process():
            return
        path = init_cfg['checkpoint']
        if init_cfg.get('read_by'):  # of another library
            from mmwamim.weights.init import fitted_state  # which imports this package
            encoder, resized = fitted_state(
                path, backbone, init_cfg.get('prefix'), state)[0], []
        else:
            encoder, resized = read_fitting(path, backbone, _prefix(init_cfg))
        same_size = [name for name, value in state.items()
                     if name in encoder and value.shape == encoder[name].shape]
        changed = [name for name in same_size if not torch.equal(state[name], encoder[name])]
        if changed:
            raise RuntimeError(f'{len(changed)} parameters of the backbone are not those of '
                               f'{path!r} although it was loaded: {", ".join(changed[:3])}')
        runner.logger.info('\n'.join([
            f'Encoder weights loaded from {path}: {len(same_size)} tensors, equal to those of the '
            'file.', *resized]))


EncoderArrivedHook = EncoderLoadedHook  # its old name, in configs with classes as types
