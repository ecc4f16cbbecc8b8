"""Encoders of this and other libraries, from a file, a folder or a name, under the names here."""
import argparse
import json
import re
from pathlib import Path
from typing import Dict, List, NamedTuple, Optional, Sequence, Tuple, Union

import torch
from mmengine.utils import to_2tuple
from torch import Tensor

from mmwamim.errors import MissingFile, UserError, describe

from . import names
from .names import NameTable

# Where a checkpoint keeps its tensors: the averaged ones first. Those that MMEngine calls
# ema_state_dict are the others: it saves averaged ones as state_dict.
CONTAINERS = ('state_dict_ema', 'model_ema', 'ema', 'state_dict', 'teacher', 'target_encoder',
              'model', 'model_state_dict', 'module', 'student', 'encoder')
# What torch puts between a module's name and its parameters'.
WRAPPERS = r'\b(_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.'
PATCHES = ('patch_embed.projection.weight', 'patch_embed.proj.weight',
           'embeddings.patch_embeddings.projection.weight')
# What may stay behind: heads, decoders, mask tokens, and what is constant.
LEFT = (r'(head|heads|head_dist|fc|fc_norm|classifier|pooler|pre_logits|lm_head)\..*', r'decoder.*',
        r'(embeddings\.)?mask_token', r'.*(relative_position_index|attn_mask)',
        r'(dino|ibot)_head\..*', r'hidden_states_norms\..*')
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
    file has them.
    """
    state: Dict[str, Tensor]
    library: str
    left: List[str]
    joined: int = 0
    heads: Optional[int] = None
    grid: Optional[Size] = None
    place: str = ''

    @property
    def is_swin(self) -> bool:
        return any(name.startswith('stages.') for name in self.state)


class _Found(NamedTuple):
    """Tensors under their names, and what else is known; see :class:`Source`."""
    state: Dict[str, Tensor]
    heads: Optional[int] = None
    grid: Optional[Size] = None
    place: str = ''


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
    if path.is_dir():
        found = _read_folder(path)
    elif path.is_file():
        found = _read_file(path)
    else:
        found = _read_timm(str(source))
    state = {re.sub(WRAPPERS, '', name): value for name, value in found.state.items()}
    state, others = _encoder_part(state, str(source), prefix)
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
    with torch.serialization.safe_globals([argparse.Namespace]):  # of MAE's and DINO's runs
        found = read_header(path)
    inside, place = _inside(found) or (_innermost(found), '')
    state = {str(name): value for name, value in inside.items() if isinstance(value, Tensor)}
    return _Found(state, *_known_of(found, path), place)


def _inside(found: dict, place: str = '') -> Optional[Tuple[dict, str]]:
    """The dict that has an encoder's tensors, and the keys on the way to it."""
    if any(str(name).endswith(PATCHES) for name in found):
        return found, place
    inner = (_inside(found[key], f'{place}[{key!r}]') for key in CONTAINERS
             if isinstance(found.get(key), dict))
    return next((one for one in inner if one is not None), None)


def _innermost(found: dict) -> dict:
    inner = next((found[key] for key in CONTAINERS if isinstance(found.get(key), dict)), None)
    return found if inner is None else _innermost(inner)


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
    if kind not in MODEL_TYPES and not (kind is None and 'architecture' in config):  # of timm
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
                  _grid(config.get('image_size'), config.get('patch_size')))


def _read_parts(folder: Path) -> Dict[str, Tensor]:
    """The tensors of a folder, from one file or several."""
    for name in ('model.safetensors', 'pytorch_model.bin'):
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
    first = getattr(model, 'blocks', [None])[0]
    return _Found(model.state_dict(), getattr(getattr(first, 'attn', None), 'num_heads', None),
                  getattr(getattr(model, 'patch_embed', None), 'grid_size', None))


def _encoder_part(state: Dict[str, Tensor], source: str, prefix: Optional[str]
                  ) -> Tuple[Dict[str, Tensor], List[str]]:
    """The tensors of the encoder without prefix, and the names of the others."""
    found = [name.removesuffix(patch) for name in state for patch in PATCHES
             if name.endswith('.' + patch) or name == patch]
    if prefix is not None:
        found = [one for one in found if one == prefix]
    if len(found) > 1:
        wanted = [one for one in found if one in ('', 'backbone.')] or [
            one for one in found if 'teacher' in one] or [
            one for one in found if 'base_encoder' in one]
        if len(wanted) != 1:
            raise UserError(f'{source!r} holds several encoders, {", ".join(map(repr, found))}: '
                            'name one with prefix in init_cfg')
        found = wanted
    if not found:
        first = ', '.join(list(state)[:3]) or 'no tensors'
        raise UserError(f'{source!r} holds no ViT or Swin Transformer that is known here (first '
                        f'names: {first})')
    start, = found
    return ({name[len(start):]: value for name, value in state.items() if name.startswith(start)},
            [name for name in state if not name.startswith(start)])


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
