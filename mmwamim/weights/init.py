"""``--init``: an encoder's first weights from this library's files or those of others."""
import math
import re
from pathlib import Path
from typing import Dict, List, Optional, Tuple, Union

import torch
from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.registry import MODELS, DefaultScope
from torch import Tensor, nn

from mmwamim.errors import UserError
from mmwamim.interface.words import option
from mmwamim.registry import WEIGHT_INITIALIZERS

from .reading import Source, read_source
from .resizing import change_channels, resize_patches, resize_positions, resize_relative

PATCH = 'patch_embed.projection.weight'
RESIZED = rf'{re.escape(PATCH)}|(absolute_)?pos_embed|.*relative_position_(bias_table|index)'
# In the model alone, or in the file alone: final norms, which pre-training does not reach.
MAY_DIFFER = (r'ln[12]\..*', r'norm\d\..*', r'mask_token', r'.*relative_position_index')


@WEIGHT_INITIALIZERS.register_module()
class PretrainedFrom:
    """Initialises an encoder from a file, folder or name of this or another library.

    Args:
        checkpoint: As of :func:`mmwamim.weights.reading.read_source`.
        prefix: Of the encoder's names, where a file holds several encoders.

    Raises:
        UserError: It does not fit the encoder.

    Example:
        >>> backbone = dict(
        ...     type='mmwamim.MaskedViT', arch='base',
        ...     init_cfg=dict(type='mmwamim.PretrainedFrom', checkpoint='mae_vit_base.pth'))
    """

    def __init__(self, checkpoint: str, prefix: Optional[str] = None) -> None:
        self.checkpoint, self.prefix = checkpoint, prefix

    def __call__(self, module: nn.Module) -> None:
        source = read_source(self.checkpoint, self.prefix)
        state, report = _fitted(source, self.checkpoint, module, module.state_dict())
        module.load_state_dict(state, strict=False)
        _take_eps(module, source)
        print_log(report, 'current')
        for part in module.modules():
            if part is not module and hasattr(part, '_is_init'):
                part._is_init = True  # or their own initialisation would follow
        # mmpretrain draws positions anew unless this is the type.
        module.init_cfg = dict(type='Pretrained', checkpoint=self.checkpoint,
                               prefix=self.prefix, read_by='mmwamim.PretrainedFrom')


def settle_init(cfg: Config, source: Optional[str]) -> None:
    """Puts ``--init`` into a config, and checks the source before anything starts. A run that is
    resumed keeps its own weights: the source is left, and said to be.

    Raises:
        UserError: The config has no backbone, or the source does not fit it.
    """
    from mmwamim.engine.config.loaders import add_hook, say  # which imports this package
    backbone = (cfg.get('model') or {}).get('backbone')
    if source is not None:
        if not isinstance(backbone, dict):
            raise UserError(f'{option("init")} works with configs that have a model.backbone')
        if cfg.get('resume'):
            say(f'{option("init", source)} is not used: the run goes on with its own weights, '
                f'from {cfg.get("load_from")}')
            return
        path = Path(source).expanduser()
        backbone['init_cfg'] = dict(type='mmwamim.PretrainedFrom',
                                    checkpoint=str(path) if source and path.exists() else source)
    init_cfg = (backbone or {}).get('init_cfg') if isinstance(backbone, dict) else None
    kind = init_cfg.get('type') if isinstance(init_cfg, dict) else None
    if cfg.get('resume') or kind not in ('mmwamim.PretrainedFrom', PretrainedFrom):
        return
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope') or 'mmpretrain'):
        empty = MODELS.build({**backbone, 'init_cfg': None})
    found = read_source(init_cfg['checkpoint'], init_cfg.get('prefix'))
    _fitted(found, init_cfg['checkpoint'], empty, empty.state_dict())
    if _take_eps(empty, found):  # for everything that builds the encoder of this run again
        backbone['norm_cfg'] = dict(backbone.get('norm_cfg') or dict(type='LN'), eps=found.eps)
    add_hook(cfg, dict(type='mmwamim.EncoderLoadedHook'))


def fitted_state(source: Union[str, Path], module: nn.Module, prefix: Optional[str] = None,
                 model: Optional[Dict[str, Tensor]] = None) -> Tuple[Dict[str, Tensor], str]:
    """The weights of a source, sized for an encoder, and a report of what was done with them.

    Args:
        source: As of :func:`mmwamim.weights.reading.read_source`.
        module: The encoder, which is left as it is.
        prefix: Of the encoder's names, where a file holds several encoders.
        model: Its state, whole, where its parameters are shared out among processes.

    Raises:
        MissingFile, UserError: As :func:`mmwamim.weights.reading.read_source`.
        UserError: The source is an encoder of another kind, width or depth.
    """
    return _fitted(read_source(source, prefix), source, module, model or module.state_dict())


def _fitted(found: Source, source: Union[str, Path], module: nn.Module, model: Dict[str, Tensor]
            ) -> Tuple[Dict[str, Tensor], str]:
    _check_kind(source, found, module, model)
    # what follows computes with them, for which half precision is too coarse
    state = {name: value.float() if value.is_floating_point() else value
             for name, value in found.state.items()}
    notes: List[str] = []
    _fit_layer_scale(state, model, notes)
    _fit_biases(state, model, notes)
    extra = [name for name in state if name not in model]
    fresh = [name for name in model if name not in state]
    wrong = [f'{name} {words}' for names, words in ((extra, 'not in this encoder'),
                                                    (fresh, 'not in the source'))
             for name in names if not any(re.fullmatch(pattern, name) for pattern in MAY_DIFFER)]
    if not wrong:
        _fit_sizes(state, module, model, notes, found.grid)
    wrong = [f'{name} {tuple(state[name].shape)} instead of {tuple(model[name].shape)}'
             for name in model if name in state and state[name].shape != model[name].shape
             and not re.fullmatch(RESIZED if wrong else '', name)] + wrong
    if wrong:
        raise UserError(f'{str(source)!r} does not fit this {type(module).__name__}: '
                        f'{len(wrong)} parameters differ ({"; ".join(wrong[:3])}'
                        f'{"; ..." if len(wrong) > 3 else ""})')
    if found.joined:
        notes.append(f'joined: query, key and value of {found.joined // 2 or 1} layers')
    left = [name for name in extra if 'index' not in name] + found.left
    for names, word in ((left, 'left'), ([n for n in fresh if 'index' not in n], 'new here')):
        if names:
            notes.append(f'{word}: {", ".join(names[:4])}'
                         f'{f", ... ({len(names)} in all)" if len(names) > 4 else ""}')
    if found.eps and not found.is_swin:
        notes.append(f'norms with eps={found.eps:g}, as there')
    state = {name: value.to(model[name].dtype) for name, value in state.items() if name in model}
    title = f'Encoder from {source}{found.place} (names of {found.library}): {len(state)} of ' \
            f'{len(model)} tensors taken'
    return state, '\n'.join([title, *(f'  {note}' for note in notes)])


def _take_eps(module: nn.Module, found: Source) -> bool:
    """Gives a ViT's norms the eps of the source, where it says one: of transformers it is 1e-12,
    and the class token, which is small at first, would come out of the first norm otherwise.
    Returns whether it is another one than before."""
    if found.eps is None or found.is_swin:
        return False
    norms = [norm for norm in module.modules() if isinstance(norm, nn.LayerNorm)
             and norm.eps != found.eps]
    for norm in norms:
        norm.eps = found.eps
    return bool(norms)


def _check_kind(source, found: Source, module: nn.Module, model: Dict[str, Tensor]) -> None:
    """What differs as a whole is said as a whole."""
    there, here = _shape(found.state), _shape(model)
    if there != here:
        raise UserError(f'{str(source)!r} is a {there}, and the encoder of this config a {here}: '
                        'set arch of model.backbone')
    for token in ('cls_token', ):
        if not found.is_swin and (token in found.state) != (token in model):
            raise UserError(f'{str(source)!r} has {"a" if token in found.state else "no"} class '
                            f'token: set model.backbone.with_cls_token={token in found.state}')
    layers = getattr(module, 'layers', None)
    heads = getattr(getattr(layers[0], 'attn', None), 'num_heads', None) if layers else None
    if found.heads and heads and found.heads != heads:
        raise UserError(f'{str(source)!r} has {found.heads} attention heads and this encoder '
                        f'{heads}: set num_heads of model.backbone.arch')


def _shape(state: Dict[str, Tensor]) -> str:
    width = state[PATCH].shape[0] if PATCH in state else 0
    counts = {}
    for name in state:
        match = re.match(r'(?:layers|stages\.(\d+)\.blocks)\.(\d+)\.', name)
        if match:
            stage = match[1]
            counts[stage] = max(counts.get(stage, 0), int(match[2]) + 1)
    if None in counts or not counts:
        return f'ViT of width {width} with {counts.get(None, 0)} layers'
    return f'Swin of width {width} with stages of {list(counts.values())} blocks'


def _fit_layer_scale(state: Dict[str, Tensor], model: Dict[str, Tensor], notes: List[str]) -> None:
    """LayerScale goes into the layer before it where the model has none, and is 1 where the
    source has none: the function stays."""
    folded = [name for name in state if re.search(r'gamma\d\.weight$', name) and name not in model]
    for name in folded:
        layer = name.replace('attn.gamma1', 'attn.proj').replace('ffn.gamma2', 'ffn.layers.1')
        scale = state.pop(name)
        state[layer] = state[layer] * scale[:, None]
        bias = layer.removesuffix('weight') + 'bias'
        state[bias] = state[bias] * scale
    fresh = [name for name in model if re.search(r'gamma\d\.weight$', name) and name not in state]
    state.update((name, torch.ones_like(model[name])) for name in fresh)
    if folded:
        notes.append(f'LayerScale of {len(folded) // 2} layers is in their projections')
    if fresh:
        notes.append(f'LayerScale of {len(fresh) // 2} layers begins with 1')


def _fit_biases(state: Dict[str, Tensor], model: Dict[str, Tensor], notes: List[str]) -> None:
    zero = [name for name in model if name.endswith('qkv.bias') and name not in state]
    state.update((name, torch.zeros_like(model[name])) for name in zero)
    if zero:
        notes.append(f'biases of query, key and value of {len(zero)} layers begin with 0')


def _fit_sizes(state: Dict[str, Tensor], module: nn.Module, model: Dict[str, Tensor],
               notes: List[str], known: Optional[Tuple[int, int]]) -> None:
    resized = []
    for name, value in state.items():
        positions = name in ('pos_embed', 'absolute_pos_embed')
        grid = tuple(module.patch_resolution) if positions else None
        if name not in model or model[name].shape == value.shape and (
                not positions or known in (None, grid)):
            continue
        here = model[name]
        if value.dim() != here.dim():
            continue  # as of patches of videos: does not fit
        if positions:
            try:
                state[name] = resize_positions(value, grid, getattr(module, 'num_extra_tokens', 0),
                                               known)
            except ValueError as error:
                raise UserError(f'{name}: {error}') from error
            resized.append(f'{name} from {value.shape[1]} to {here.shape[1]} tokens')
        elif name == PATCH:
            channels, size = here.shape[1], tuple(here.shape[2:])
            if value.shape[1] != channels:
                notes.append(f'channels: {value.shape[1]} to {channels}')
                value = change_channels(value, channels)
            if tuple(value.shape[2:]) != size:
                resized.append(f'patches from {value.shape[2]} to {size[0]} px')
                value = resize_patches(value, size)
            state[name] = value
        elif name.endswith('relative_position_bias_table') and value.shape[1] == here.shape[1]:
            state[name] = resize_relative(value, here.shape[0])
            resized.append(f'{name} from windows of {(math.isqrt(len(value)) + 1) // 2} to '
                           f'{(math.isqrt(len(here)) + 1) // 2}')
    if resized:
        more = f', ... ({len(resized)} in all)' if len(resized) > 3 else ''
        notes.append(f'resized: {"; ".join(resized[:3])}{more}')
    for name in [name for name in state if name.endswith('relative_position_index')]:
        del state[name]  # constant
