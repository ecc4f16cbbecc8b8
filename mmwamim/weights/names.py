"""Two-way tables of parameter names: mmpretrain's, which are those here, and other libraries'.

One table a library and kind of network; export reads it from left to right, ``--init`` from right
to left. In a template ``{i}`` is a layer, ``{s}`` and ``{b}`` are a stage and a block in it,
``{next}`` is the stage after, ``{last}`` the last stage, ``{p}`` is weight or bias.
"""
import re
from typing import Dict, List, NamedTuple, Sequence, Tuple, Union

import torch
from torch import Tensor

_NUMBER, _PART = r'\d+', r'(?:weight|bias)'
_FIELDS = dict(i=_NUMBER, s=_NUMBER, b=_NUMBER, next=_NUMBER, p=_PART)
Pair = Tuple[str, Union[str, Sequence[str]]]  # one name there, or those of query, key and value


def merging_to_official(value: Tensor) -> Tensor:
    """Rows of patch merging (..., 4 C): channel-major (C, row, column) in mmpretrain to the order
    of Swin's own code, (column, row, C)."""
    by_channel = value.unflatten(-1, (-1, 2, 2))
    return by_channel.movedim((-1, -2), (-3, -2)).flatten(-3)


def merging_from_official(value: Tensor) -> Tensor:
    """The inverse of :func:`merging_to_official`."""
    by_cell = value.unflatten(-1, (2, 2, -1))
    return by_cell.movedim((-3, -2), (-1, -2)).flatten(-3)


class Renamed(NamedTuple):
    """Tensors under other names, the old names of those that no rule knows, and how many were
    joined from query, key and value."""
    state: Dict[str, Tensor]
    unknown: List[str]
    joined: int = 0


class NameTable:
    """Names of one kind of network here and in one library.

    Args:
        library: What it is called in messages.
        pairs: Templates here and there. Three names there are query, key and value of one
            tensor here.
        merging: Templates of patch merging, whose channels are in another order there.
    """

    def __init__(self, library: str, pairs: Sequence[Pair], merging: Sequence[Pair] = ()) -> None:
        self.library = library
        self.rules = [(ours, (theirs, ) if isinstance(theirs, str) else tuple(theirs), change)
                      for rules, change in ((pairs, False), (merging, True))
                      for ours, theirs in rules]

    def to_theirs(self, state: Dict[str, Tensor], stages: int = 0) -> Renamed:
        """A state dict of this library under the other's names; of a Swin with its stages."""
        found, unknown = {}, []
        for name, value in state.items():
            for ours, theirs, is_merging in self.rules:
                fields = _match(ours, name, stages)
                if fields is not None:
                    value = merging_to_official(value) if is_merging else value
                    parts = value.chunk(len(theirs)) if len(theirs) > 1 else [value]
                    found.update((_fill(template, fields, stages), part.clone())
                                 for template, part in zip(theirs, parts))
                    break
            else:
                unknown.append(name)
        return Renamed(found, unknown)

    def to_ours(self, state: Dict[str, Tensor], stages: int = 0) -> Renamed:
        """The inverse of :meth:`to_theirs`."""
        found, unknown = {}, []
        parts: Dict[str, Dict[int, Tensor]] = {}
        names: Dict[str, List[str]] = {}
        for name, value in state.items():
            for ours, theirs, is_merging in self.rules:
                which, fields = next(((number, fields) for number, template in enumerate(theirs)
                                      if (fields := _match(template, name, stages)) is not None),
                                     (0, None))
                if fields is None:
                    continue
                target = _fill(ours, fields, stages)
                if len(theirs) > 1:
                    parts.setdefault(target, {})[which] = value
                    names.setdefault(target, []).append(name)
                else:
                    found[target] = merging_from_official(value) if is_merging else value
                break
            else:
                unknown.append(name)
        whole = {target: [some[which] for which in sorted(some)] for target, some in parts.items()
                 if len(some) == 3}
        found.update((target, torch.cat(some)) for target, some in whole.items())
        unknown += [name for target, some in names.items() if target not in whole for name in some]
        return Renamed(found, unknown, len(whole))


def _match(template: str, name: str, stages: int):
    """The fields of a template in a name, or None."""
    pattern = re.escape(template.replace('{last}', str(stages - 1)))
    for field, allowed in _FIELDS.items():
        pattern = pattern.replace(rf'\{{{field}\}}', f'(?P<{field}>{allowed})')
    match = re.fullmatch(pattern, name)
    if match is None:
        return None
    fields = match.groupdict()
    if 's' in fields:
        fields['next'] = int(fields['s']) + 1
    elif 'next' in fields:
        fields['s'] = int(fields['next']) - 1
    return fields


def _fill(template: str, fields: dict, stages: int) -> str:
    return template.format(**fields, last=stages - 1)


def _within(ours: str, theirs: str, pairs: Sequence[Pair]) -> List[Pair]:
    """Names of a layer, after its own."""
    return [(ours + one, theirs + other if isinstance(other, str) else
             tuple(theirs + part for part in other)) for one, other in pairs]


def _three(module: str) -> Tuple[str, ...]:
    return tuple(f'{module}.{part}.{{p}}' for part in ('query', 'key', 'value'))


def _names(pairs: str) -> List[Pair]:
    """Lines 'ours theirs' as pairs."""
    return [tuple(line.split()) for line in pairs.strip().splitlines()]


# Layers of a ViT, of timm and those who follow it (MAE, DINO), and of transformers.
_VIT_TIMM = _names('''
    ln1.{p}              norm1.{p}
    attn.qkv.{p}         attn.qkv.{p}
    attn.proj.{p}        attn.proj.{p}
    attn.gamma1.weight   ls1.gamma
    ln2.{p}              norm2.{p}
    ffn.layers.0.0.{p}   mlp.fc1.{p}
    ffn.layers.1.{p}     mlp.fc2.{p}
    ffn.gamma2.weight    ls2.gamma
    attn.gamma1.weight   gamma_1
    ffn.gamma2.weight    gamma_2''')  # the last two of DeiT III's authors
_VIT_TRANSFORMERS = [('attn.qkv.{p}', _three('attention.attention')), *_names('''
    ln1.{p}              layernorm_before.{p}
    attn.proj.{p}        attention.output.dense.{p}
    ln2.{p}              layernorm_after.{p}
    ffn.layers.0.0.{p}   intermediate.dense.{p}
    ffn.layers.1.{p}     output.dense.{p}''')]
_DINOV2_TRANSFORMERS = [('attn.qkv.{p}', _three('attention.attention')), *_names('''
    ln1.{p}              norm1.{p}
    attn.proj.{p}        attention.output.dense.{p}
    attn.gamma1.weight   layer_scale1.lambda1
    ln2.{p}              norm2.{p}
    ffn.layers.0.0.{p}   mlp.fc1.{p}
    ffn.layers.1.{p}     mlp.fc2.{p}
    ffn.gamma2.weight    layer_scale2.lambda1''')]
# Blocks of a Swin.
_SWIN_OFFICIAL = _names('''
    norm1.{p}            norm1.{p}
    attn.w_msa.qkv.{p}   attn.qkv.{p}
    attn.w_msa.proj.{p}  attn.proj.{p}
    attn.w_msa.relative_position_bias_table   attn.relative_position_bias_table
    norm2.{p}            norm2.{p}
    ffn.layers.0.0.{p}   mlp.fc1.{p}
    ffn.layers.1.{p}     mlp.fc2.{p}''')
_SWIN_TRANSFORMERS = [('attn.w_msa.qkv.{p}', _three('attention.self')), *_names('''
    norm1.{p}            layernorm_before.{p}
    attn.w_msa.proj.{p}  attention.output.dense.{p}
    attn.w_msa.relative_position_bias_table   attention.self.relative_position_bias_table
    norm2.{p}            layernorm_after.{p}
    ffn.layers.0.0.{p}   intermediate.dense.{p}
    ffn.layers.1.{p}     output.dense.{p}''')]
# What is around them.
_OUTSIDE_VIT_TIMM = _names('''
    cls_token                    cls_token
    pos_embed                    pos_embed
    patch_embed.projection.{p}   patch_embed.proj.{p}
    pre_norm.{p}                 norm_pre.{p}
    ln1.{p}                      norm.{p}
    ln2.{p}                      fc_norm.{p}''')
_OUTSIDE_VIT_TRANSFORMERS = _names('''
    cls_token                    embeddings.cls_token
    pos_embed                    embeddings.position_embeddings
    patch_embed.projection.{p}   embeddings.patch_embeddings.projection.{p}
    ln1.{p}                      layernorm.{p}''')
_OUTSIDE_SWIN_OFFICIAL = _names('''
    patch_embed.projection.{p}   patch_embed.proj.{p}
    patch_embed.norm.{p}         patch_embed.norm.{p}
    absolute_pos_embed           absolute_pos_embed
    norm{last}.{p}               norm.{p}''')
_OUTSIDE_SWIN_TRANSFORMERS = _names('''
    patch_embed.projection.{p}   embeddings.patch_embeddings.projection.{p}
    patch_embed.norm.{p}         embeddings.norm.{p}
    absolute_pos_embed           embeddings.position_embeddings
    norm{last}.{p}               layernorm.{p}''')


def _merging(theirs: str) -> List[Pair]:
    return _within('stages.{s}.downsample.', theirs,
                   [('norm.{p}', 'norm.{p}'), ('reduction.weight', 'reduction.weight')])


VIT_TIMM = NameTable(
    'timm', _OUTSIDE_VIT_TIMM + _within('layers.{i}.', 'blocks.{i}.', _VIT_TIMM))
VIT_TRANSFORMERS = NameTable(
    'transformers',
    _OUTSIDE_VIT_TRANSFORMERS + _within('layers.{i}.', 'encoder.layer.{i}.', _VIT_TRANSFORMERS))
DINOV2_TRANSFORMERS = NameTable(
    'transformers',
    _OUTSIDE_VIT_TRANSFORMERS + _within('layers.{i}.', 'encoder.layer.{i}.', _DINOV2_TRANSFORMERS))
SWIN_OFFICIAL = NameTable(
    "Swin's authors", _OUTSIDE_SWIN_OFFICIAL
    + _within('stages.{s}.blocks.{b}.', 'layers.{s}.blocks.{b}.', _SWIN_OFFICIAL),
    _merging('layers.{s}.downsample.'))
SWIN_TIMM = NameTable(  # which merges at the start of the next stage
    'timm', _OUTSIDE_SWIN_OFFICIAL
    + _within('stages.{s}.blocks.{b}.', 'layers.{s}.blocks.{b}.', _SWIN_OFFICIAL),
    _merging('layers.{next}.downsample.'))
SWIN_TRANSFORMERS = NameTable(
    'transformers', _OUTSIDE_SWIN_TRANSFORMERS
    + _within('stages.{s}.blocks.{b}.', 'encoder.layers.{s}.blocks.{b}.', _SWIN_TRANSFORMERS),
    _merging('encoder.layers.{s}.downsample.'))
