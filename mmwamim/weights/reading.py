"""Encoders of this and other libraries, from a file, a folder or a name, under the names here."""
import json
import re
from pathlib import Path
from typing import Dict, List, NamedTuple, Optional, Sequence, Tuple, Union

import numpy as np
import torch
from mmengine.utils import to_2tuple
from torch import Tensor, nn

from mmwamim.errors import MissingFile, UserError, describe

from . import names
from .finding import CHUNK, PATCHES, WRAPPERS, encoder_dict, encoder_part, innermost_dict
from .names import NameTable

# What may stay behind: heads, decoders, mask tokens, and what is constant.
LEFT = (r'(head|heads|head_dist|fc|fc_norm|classifier|pooler|attn_pool|pre_logits|lm_head)\..*',
        r'decoder.*', r'(embeddings\.)?mask_token|masked_embed',
        r'.*(relative_position_index|attn_mask)',
        r'(dino|ibot)_head\..*', r'hidden_states_norms\..*')
PARTS = ('model.safetensors', 'pytorch_model.bin')  # of a folder
# Of transformers. Some of its models with heads write a part of the encoder without its prefix.
MODEL_TYPES = ('vit', 'vit_mae', 'vit_msn', 'dinov2', 'ijepa', 'swin', 'donut-swin', 'timm_wrapper')
BASES = r'(vit|dinov2|ijepa|swin|donut)\.'
NO_PLACE = {
    'deit': 'a distillation token', 'beit': 'relative position biases',
    'data2vec-vision': 'relative position biases', 'dinov2_with_registers': 'register tokens',
    'dinov3_vit': 'rotary positions and register tokens', 'swinv2': 'cosine attention'}
Size = Tuple[int, int]


class Source(NamedTuple):
    """An encoder that was read.

    ``state`` has the names of mmpretrain, ``left`` names what stays behind, ``heads`` is the
    number of a ViT's attention heads and ``grid`` the rows and columns of its positions where they
    are known, ``joined`` counts tensors joined from query, key and value, ``place`` is where a
    file has them, ``eps`` is that of its norms, if it is known.
    """
    state: Dict[str, Tensor]
    library: str
    left: List[str]
    joined: int = 0
    heads: Optional[int] = None
    grid: Optional[Size] = None
    place: str = ''
    eps: Optional[float] = None

    @property
    def is_swin(self) -> bool:
        return any(name.startswith('stages.') for name in self.state)


class _Found(NamedTuple):
    """Tensors under their names, and what else is known; see :class:`Source`."""
    state: Dict[str, Tensor]
    heads: Optional[int] = None
    grid: Optional[Size] = None
    place: str = ''
    eps: Optional[float] = None


def read_source(source: Union[str, Path], prefix: Optional[str] = None) -> Source:
    """Reads an encoder: encoder.pth or a checkpoint of mmpretrain, timm, MAE, SimMIM, DINO (.pth
    or .safetensors); a folder of transformers' ViT, ViTMAE, ViTMSN, DINOv2, I-JEPA or Swin, or of
    timm; a name of timm, whose weights must be had on this machine or over the network.

    Args:
        source: File, folder or name.
        prefix: Of the encoder's names, where a file holds several. Default: found.

    Raises:
        MissingFile: There is no such file, folder or name.
        UserError: It cannot be read safely, or holds no ViT or Swin Transformer; or its weights
            are NaN or infinite.
    """
    path = Path(source).expanduser()
    if not str(source):
        raise MissingFile("no file, folder or name is given, but ''")
    if path.name in PARTS and (path.parent / 'config.json').is_file():
        path = path.parent  # which says more than the weights alone
    if path.is_dir():
        found = _read_folder(path)
    elif path.is_file():
        found = _read_file(path)
    else:
        found = _read_timm(str(source))
    state = {re.sub(CHUNK, r'\1', re.sub(WRAPPERS, '', name)): value
             for name, value in found.state.items()}
    state, others = encoder_part(state, str(source), prefix)
    _check_plain(state, source)
    from mmwamim.engine.checkpoints.reading import check_finite_weights  # it imports this package
    check_finite_weights(state, source)
    table, stages = _find_table(state)
    if table is None:
        return Source(state, 'mmpretrain', others, 0, *found[1:])
    renamed = table.to_ours(state, stages)
    odd = [name for name in renamed.unknown
           if not any(re.fullmatch(pattern, name) for pattern in LEFT)]
    if odd:
        raise UserError(f'{str(source)!r} is not a plain ViT or Swin: {len(odd)} of its parameters '
                        f'have no place here ({", ".join(odd[:3])})')
    left = others + [name for name in renamed.unknown if 'relative_position_index' not in name]
    return Source(renamed.state, table.library, left, renamed.joined, *found[1:])


def _read_file(path: Path) -> _Found:
    # which imports this package
    from mmwamim.engine.checkpoints.reading import foreign_kind, read_header
    if path.suffix == '.safetensors':
        try:
            from safetensors import SafetensorError
            from safetensors.torch import load_file
        except ImportError:
            raise UserError(f'{str(path)!r} needs safetensors: pip install safetensors') from None
        try:
            return _Found(load_file(path))
        except OSError as error:
            raise UserError(f'{str(path)!r} cannot be read: {describe(error)}') from error
        except (SafetensorError, ValueError) as error:
            kind = foreign_kind(path) or 'it is of torch.save: give it the ending .pth'
            if 'safetensors' in kind:  # as its first bytes say
                kind = f'it is damaged, or only a part ({error})'
            raise UserError(f'{str(path)!r} cannot be read as safetensors: {kind}') from error
    found = read_header(path)
    inside, place = encoder_dict(found) or (innermost_dict(found), '')
    state = {str(name): torch.as_tensor(value) for name, value in inside.items()
             if isinstance(value, Tensor) or isinstance(value, np.ndarray) and value.dtype.kind in
             'fiu'}
    return _Found(state, *_known_of(found, path), place)


def _known_of(found: dict, path: Path) -> Tuple[Optional[int], Optional[Size]]:
    """Heads and grid of a ViT, by the config that MMEngine's checkpoints carry."""
    from mmwamim.engine.config.text import config_of_text  # which imports this package
    meta = found.get('meta')
    text = (meta.get('config') or meta.get('cfg')) if isinstance(meta, dict) else None
    try:
        backbone = config_of_text(text, path).model.backbone if text else {}
        arch, sizes = backbone.get('arch'), [backbone.get(name) for name in (
            'img_size', 'patch_size')]
    except (UserError, AttributeError):
        return None, None
    heads = arch.get('num_heads') if isinstance(arch, dict) else None
    return heads if isinstance(heads, int) else None, _grid(*sizes)


def _grid(image: Union[int, Sequence[int], None], patch: Union[int, Sequence[int], None]
          ) -> Optional[Size]:
    try:
        (height, width), (rows, columns) = to_2tuple(image), to_2tuple(patch)
        return height // rows, width // columns
    except (TypeError, ValueError, ZeroDivisionError):  # not said, or in a way unknown here
        return None


def _read_folder(folder: Path) -> _Found:
    if not (folder / 'config.json').is_file():
        raise MissingFile(f'{str(folder)!r} has no config.json: give a file, or a folder that '
                          'save_pretrained of transformers has written')
    try:
        config = json.loads((folder / 'config.json').read_text())
    except ValueError as error:
        raise UserError(f'{str(folder / "config.json")!r} is no JSON: {error}') from error
    if not isinstance(config, dict):
        raise UserError(f'{str(folder / "config.json")!r} is no config of transformers, but a '
                        f'{type(config).__name__}')
    kind = config.get('model_type')
    if 'architecture' in config and kind in (None, 'timm_wrapper'):
        return _read_folder_of_timm(folder, config)
    if kind not in MODEL_TYPES:
        odd = f', which has {NO_PLACE[kind]}, for which there is no place here' \
            if kind in NO_PLACE else ''
        raise UserError(f'{str(folder / "config.json")!r}: model_type is {kind!r}{odd}; there are '
                        f'{", ".join(MODEL_TYPES)}')
    for name, wanted in (('hidden_act', 'gelu'), ('use_swiglu_ffn', False)):
        if config.get(name, wanted) != wanted:
            raise UserError(f'{str(folder / "config.json")!r}: the encoders here have '
                            f'{name}={wanted!r}, not {config[name]!r}')
    state = {re.sub(f'^{BASES}', '', name): value for name, value in _read_parts(folder).items()}
    return _Found(state, config.get('num_attention_heads'),
                  _grid(config.get('image_size'), config.get('patch_size')),
                  eps=config.get('layer_norm_eps'))


def _read_folder_of_timm(folder: Path, config: dict) -> _Found:
    """As its models lie on the Hugging Face hub. What they compute is only known to timm."""
    state = _read_parts(folder)
    try:
        import timm
        with torch.device('meta'):
            model = timm.create_model(config['architecture'], **(config.get('model_args') or {}))
    except Exception:  # not here, or not this one: the names alone must do
        return _Found(state)
    return _known_of_timm(state, model, str(folder))


def _read_parts(folder: Path) -> Dict[str, Tensor]:
    """The tensors of a folder, from one file or several."""
    for name in PARTS:
        if (folder / name).is_file():
            return _read_file(folder / name).state
        index = folder / f'{name}.index.json'
        if index.is_file():
            try:
                parts = sorted(set(json.loads(index.read_text())['weight_map'].values()))
                missing = [part for part in parts if not (folder / part).is_file()]
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise UserError(f'{str(index)!r} has no weight_map from names to files') from error
            if missing:
                raise MissingFile(f'{str(folder)!r} lacks {len(missing)} of the {len(parts)} files '
                                  f'of its weights: {", ".join(missing[:3])}')
            return {name: value for part in parts
                    for name, value in _read_file(folder / part).state.items()}
    raise MissingFile(f'{str(folder)!r} has neither model.safetensors nor pytorch_model.bin')


def _read_timm(name: str) -> _Found:
    nothing = f'there is no file or folder {name!r}'
    if name.endswith(('.pth', '.pt', '.bin', '.safetensors')):
        raise MissingFile(nothing)
    try:
        import timm
    except ImportError:
        raise MissingFile(f'{nothing}, and for names of models timm is needed: pip install timm'
                          ) from None
    if not timm.is_model(name):
        raise MissingFile(f'{nothing}, and timm has no model of that name; a model of the Hugging '
                          'Face hub is downloaded first and given as a folder')
    try:
        model = timm.create_model(name, pretrained=True)
    except Exception as error:  # of the network, whatever it likes
        raise UserError(f"the weights of timm's {name!r} cannot be had here "
                        f'({type(error).__name__}): save its state_dict on a machine with network '
                        'and give the file') from error
    return _known_of_timm(model.state_dict(), model, name)


def _known_of_timm(state: Dict[str, Tensor], model: nn.Module, source: str) -> _Found:
    """What only the model knows, not the names of its parameters.

    Raises:
        UserError: It computes something else than the networks here.
    """
    kind = type(model).__name__
    layers = model.blocks if kind == 'VisionTransformer' else model.layers[0].blocks \
        if kind == 'SwinTransformer' else None
    if layers is None:
        raise UserError(f"{source!r} is timm's {kind}, for which there is no place here: there are "
                        'its VisionTransformer and SwinTransformer')
    layer = layers[0]
    act = getattr(getattr(layer, 'mlp', None), 'act', None)
    odd = type(layer).__name__ if type(layer).__name__ not in ('Block', 'SwinTransformerBlock') \
        else None if isinstance(act, nn.GELU) and act.approximate == 'none' else act
    if odd is not None:
        raise UserError(f'{source!r}: its layers have {odd}, which those here have not')
    shapes = {name: value.shape for name, value in model.state_dict().items()}
    if any(shapes.get(name, value.shape) != value.shape for name, value in state.items()
           if name.endswith((*PATCHES, 'norm1.weight', 'pos_embed'))):
        return _Found(state)  # made with arguments that are not known here
    return _Found(state, layer.attn.num_heads if kind == 'VisionTransformer' else None,
                  getattr(model.patch_embed, 'grid_size', None), eps=layer.norm1.eps)


def _check_plain(state: Dict[str, Tensor], source: Union[str, Path]) -> None:
    """Raises UserError for tensors that stand for weights in a way of their own."""
    for name, value in state.items():
        kind = 'quantized' if value.is_quantized or (
            value.dtype in (torch.int8, torch.uint8) and name.endswith('weight')) else \
            'empty (meta)' if value.is_meta else '' if value.layout == torch.strided else 'sparse'
        if kind:
            raise UserError(f'{str(source)!r}: {name!r} is {kind}: save the state_dict of the '
                            'model with plain tensors')


def _find_table(state: Dict[str, Tensor]) -> Tuple[Optional[NameTable], int]:
    """The table of a library's names, None for mmpretrain's, and the stages of a Swin."""
    patch = next(patch for patch in PATCHES if patch in state)
    numbers = [int(match[1]) for name in state
               if (match := re.match(r'(?:encoder\.)?layers\.(\d+)\.blocks', name))]
    stages = max(numbers, default=-1) + 1
    if patch == PATCHES[0]:
        return None, stages
    if patch == PATCHES[2]:
        dino = 'encoder.layer.0.layer_scale1.lambda1' in state
        return (names.SWIN_TRANSFORMERS if stages else names.DINOV2_TRANSFORMERS if dino
                else names.VIT_TRANSFORMERS), stages
    if not stages:
        return names.VIT_TIMM, 0
    at_end = any(name.startswith('layers.0.downsample.') for name in state)
    return (names.SWIN_OFFICIAL if at_end else names.SWIN_TIMM), stages
