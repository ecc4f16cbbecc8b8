"""Encoders of this and other libraries, from a file, a folder or a name, under the names here."""
import argparse
import json
import re
from pathlib import Path
from typing import Dict, List, NamedTuple, Optional, Tuple, Union

import torch
from torch import Tensor

from mmwamim.errors import MissingFile, UserError

from . import names
from .names import NameTable

# Where a checkpoint keeps its tensors: the averaged ones first.
CONTAINERS = ('state_dict', 'teacher', 'model', 'model_state_dict', 'module', 'student')
PATCHES = ('patch_embed.projection.weight', 'patch_embed.proj.weight',
           'embeddings.patch_embeddings.projection.weight')
# What may stay behind: heads, decoders, mask tokens, and what is constant.
LEFT = (r'(head|heads|head_dist|fc|fc_norm|classifier|pooler|pre_logits|lm_head)\..*', r'decoder.*',
        r'(embeddings\.)?mask_token', r'.*(relative_position_index|attn_mask)',
        r'(dino|ibot)_head\..*')
MODEL_TYPES = ('vit', 'vit_mae', 'vit_msn', 'dinov2', 'swin')


class Source(NamedTuple):
    """An encoder that was read.

    ``state`` has the names of mmpretrain, ``left`` names what stays behind, ``heads`` is the
    number of a ViT's attention heads where it is known, ``joined`` counts tensors joined from
    query, key and value.
    """
    state: Dict[str, Tensor]
    library: str
    left: List[str]
    joined: int = 0
    heads: Optional[int] = None

    @property
    def is_swin(self) -> bool:
        return any(name.startswith('stages.') for name in self.state)


def read_source(source: Union[str, Path], prefix: Optional[str] = None) -> Source:
    """Reads an encoder: encoder.pth or a checkpoint of mmpretrain, timm, MAE, SimMIM, DINO (.pth
    or .safetensors); a folder of transformers' ViT, ViTMAE, DINOv2 or Swin; a name of timm, whose
    weights must be had on this machine or over the network.

    Args:
        source: File, folder or name.
        prefix: Of the encoder's names, where a file holds several. Default: found.

    Raises:
        MissingFile: There is no such file, folder or name.
        UserError: It cannot be read safely, or holds no ViT or Swin Transformer; or its weights
            are NaN or infinite.
    """
    path, heads = Path(source).expanduser(), None
    if path.is_dir():
        state, heads = _read_folder(path)
    elif path.is_file():
        state = _read_file(path)
    else:
        state, heads = _read_timm(str(source))
    state, others = _encoder_part(state, str(source), prefix)
    from mmwamim.engine.checkpoints.reading import check_finite_weights  # it imports this package
    check_finite_weights(state, source)
    table, stages = _find_table(state)
    if table is None:
        return Source(state, 'mmpretrain', others, 0, heads)
    renamed = table.to_ours(state, stages)
    odd = [name for name in renamed.unknown
           if not any(re.fullmatch(pattern, name) for pattern in LEFT)]
    if odd:
        raise UserError(f'{str(source)!r} is not a plain ViT or Swin: {len(odd)} of its parameters '
                        f'have no place here ({", ".join(odd[:3])})')
    left = others + [name for name in renamed.unknown if 'relative_position_index' not in name]
    return Source(renamed.state, table.library, left, renamed.joined, heads)


def _read_file(path: Path) -> Dict[str, Tensor]:
    # which imports this package
    from mmwamim.engine.checkpoints.reading import foreign_kind, read_header
    if path.suffix == '.safetensors':
        try:
            from safetensors import SafetensorError
            from safetensors.torch import load_file
        except ImportError:
            raise UserError(f'{str(path)!r} needs safetensors: pip install safetensors') from None
        try:
            return load_file(path)
        except (SafetensorError, ValueError) as error:
            kind = foreign_kind(path) or 'it is of torch.save: give it the ending .pth'
            if 'safetensors' in kind:  # as its first bytes say
                kind = f'it is damaged, or only a part ({error})'
            raise UserError(f'{str(path)!r} cannot be read as safetensors: {kind}') from error
    with torch.serialization.safe_globals([argparse.Namespace]):  # of MAE's and DINO's runs
        found = read_header(path)
    while not any(str(name).endswith(PATCHES) for name in found):
        inside = next((key for key in CONTAINERS if isinstance(found.get(key), dict)), None)
        if inside is None:
            break
        found = found[inside]
    return {str(name): value for name, value in found.items() if isinstance(value, Tensor)}


def _read_folder(folder: Path) -> Tuple[Dict[str, Tensor], Optional[int]]:
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
    if config.get('model_type') not in MODEL_TYPES:
        raise UserError(f'{str(folder / "config.json")!r}: model_type is '
                        f'{config.get("model_type")!r}; there are {", ".join(MODEL_TYPES)}')
    if config.get('hidden_act', 'gelu') != 'gelu' or config.get('use_swiglu_ffn'):
        raise UserError(f'{str(folder / "config.json")!r}: the encoders here have GELU, not '
                        f'hidden_act={config.get("hidden_act")!r} or SwiGLU')
    heads = config.get('num_attention_heads')
    for name in ('model.safetensors', 'pytorch_model.bin'):
        if (folder / name).is_file():
            return _read_file(folder / name), heads
    if any(folder.glob('*.index.json')):
        raise UserError(f'{str(folder)!r} has its weights in several files: save it in one, with '
                        'save_pretrained(..., max_shard_size="100GB")')
    raise MissingFile(f'{str(folder)!r} has neither model.safetensors nor pytorch_model.bin')


def _read_timm(name: str) -> Tuple[Dict[str, Tensor], Optional[int]]:
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
    heads = model.blocks[0].attn.num_heads if hasattr(model, 'blocks') else None
    return model.state_dict(), heads


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
