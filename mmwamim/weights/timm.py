"""timm's VisionTransformer and SwinTransformer, of any width, depth and patch."""
import re
from typing import Dict, NamedTuple, Optional, Sequence, Tuple

from torch import Tensor, nn

from mmwamim.errors import UserError
from mmwamim.evaluation.features import image_size, size_before_crop

from .names import SWIN_TIMM, VIT_TIMM

# (width, layers or depths, heads, patch) -> timm's name
VIT = {
    (192, 12, 3, 16): 'vit_tiny_patch16_224', (384, 12, 6, 16): 'vit_small_patch16_224',
    (768, 12, 12, 16): 'vit_base_patch16_224', (768, 12, 12, 8): 'vit_base_patch8_224',
    (1024, 24, 16, 16): 'vit_large_patch16_224'}
SWIN = {
    (96, (2, 2, 6, 2)): 'swin_tiny_patch4_window7_224',
    (96, (2, 2, 18, 2)): 'swin_small_patch4_window7_224',
    (128, (2, 2, 18, 2)): 'swin_base_patch4_window7_224',
    (192, (2, 2, 18, 2)): 'swin_large_patch4_window7_224'}
# Not in other libraries' encoders: norms of earlier stages, and what is constant.
SWIN_LEFT = r'norm\d+\..*|.*relative_position_index'


class Norm(NamedTuple):
    """What timm makes norms of another eps than its own with; its repr is Python that does so."""
    eps: float

    def __call__(self, width: int, **more) -> nn.Module:
        return nn.LayerNorm(width, eps=self.eps, **more)

    def __repr__(self) -> str:
        return f'lambda width, **more: timm.layers.LayerNorm(width, eps={self.eps!r}, **more)'


class Classifier(NamedTuple):
    """The linear layer of a classifier on an encoder, (classes, width) and (classes, )."""
    weight: Tensor
    bias: Tensor


def to_timm(encoder: nn.Module, classifier: Optional[Classifier] = None
            ) -> Tuple[str, Dict[str, Tensor]]:
    """timm's name of the architecture, and the state dict under timm's names, with a head if there
    is a classifier.

    An encoder that no name of timm means exactly needs the arguments of :func:`timm_arguments`
    beside the name.

    Raises:
        UserError: timm has no such network.
    """
    if hasattr(encoder, 'layers'):
        table, stages, left, head = VIT_TIMM, 0, '', 'head'
    else:
        table, stages, left, head = SWIN_TIMM, len(encoder.stages), SWIN_LEFT, 'head.fc'
    name, _ = timm_arguments(encoder)
    renamed = table.to_theirs(encoder.state_dict(), stages)
    check_left(renamed.unknown, left, 'timm')
    if classifier is not None:
        renamed.state.update({f'{head}.weight': classifier.weight, f'{head}.bias': classifier.bias})
    return name, renamed.state


def check_left(names: Sequence[str], allowed: str, library: str) -> None:
    """Raises UserError if a parameter has no place in another library."""
    lost = [name for name in names if not re.fullmatch(allowed, name)]
    if lost:
        raise UserError(f'{library} has no place for {len(lost)} parameters of this encoder: '
                        f'{", ".join(lost[:3])}')


def timm_arguments(encoder: nn.Module) -> Tuple[str, dict]:
    """What ``timm.create_model`` takes: the name, and the arguments that differ from it. With
    ``num_classes=0`` the model gives what ``mmwamim.Encoder`` gives.

    Raises:
        UserError: timm has no such network.

    Examples:
        >>> name, arguments = timm_arguments(encoder)  # doctest: +SKIP
        >>> timm.create_model(name, num_classes=0, **arguments)  # doctest: +SKIP
    """
    if hasattr(encoder, 'layers'):
        name, arguments = _vit_arguments(encoder)
        arguments.update(_vit_pooling(encoder))
    else:
        name, arguments = _swin_arguments(encoder)
    size = image_size(encoder)
    if size != (224, 224):
        arguments['img_size'] = size[0] if size[0] == size[1] else size
    if encoder.patch_embed.projection.in_channels != 3:
        arguments['in_chans'] = encoder.patch_embed.projection.in_channels
    return name, arguments


def timm_pictures(encoder: nn.Module, preprocessor: dict) -> dict:
    """What ``timm.create_model`` takes as ``pretrained_cfg_overlay``: by itself it would have
    pictures made as for the weights that its name stands for, of other sizes, means and deviations.

    Args:
        encoder: A ViT or Swin Transformer.
        preprocessor: Settings of the run's data preprocessor.

    Examples:
        >>> pictures = timm_pictures(encoder, preprocessor)  # doctest: +SKIP
        >>> model = timm.create_model(name, pretrained_cfg_overlay=pictures)  # doctest: +SKIP
        >>> timm.data.create_transform(  # doctest: +SKIP
        ...     **timm.data.resolve_model_data_config(model))(image)  # as encoder.preprocess
    """
    sides, before = image_size(encoder), size_before_crop(image_size(encoder))
    channels = encoder.patch_embed.projection.in_channels
    mean, std = (preprocessor.get(name) or (value, ) * channels
                 for name, value in (('mean', 0), ('std', 1)))  # without them of 0 to 255, as here
    # timm rounds the size down, and a share of more digits could be too large by the last of them.
    share = min(side * 10_000 // size for side, size in zip(sides, before)) / 10_000
    return dict(input_size=(channels, *sides), interpolation='bicubic', crop_pct=share,
                mean=tuple(float(f'{value / 255:.7g}') for value in mean),
                std=tuple(float(f'{value / 255:.7g}') for value in std))


def _vit_arguments(encoder: nn.Module) -> Tuple[str, dict]:
    settings, layer = encoder.arch_settings, encoder.layers[0]
    width, depth, heads = encoder.embed_dims, encoder.num_layers, settings['num_heads']
    patch = encoder.patch_embed.projection.kernel_size[0]
    name, arguments = VIT.get((width, depth, heads, patch)), {}
    if name is None:
        name = 'vit_base_patch16_224'
        arguments = dict(embed_dim=width, depth=depth, num_heads=heads, patch_size=patch)
    if settings['feedforward_channels'] != 4 * width:
        arguments['mlp_ratio'] = settings['feedforward_channels'] / width
    if layer.ln1.eps != 1e-6:
        if layer.ln1.eps > 1e-5:
            _check_eps(layer.ln1, 1e-6)
        arguments['norm_layer'] = Norm(layer.ln1.eps)  # of encoders that began with those of others
    if layer.attn.qkv.bias is None:
        arguments['qkv_bias'] = False
    if not isinstance(encoder.pre_norm, nn.Identity):
        arguments['pre_norm'] = True
    if not isinstance(layer.attn.gamma1, nn.Identity):
        arguments['init_values'] = 1.  # any: the file has the values
    if encoder.cls_token is None:
        arguments['class_token'] = False
    return name, arguments


def _vit_pooling(encoder: nn.Module) -> dict:
    """The arguments that say what becomes of the last layer's tokens."""
    if getattr(encoder, 'pools_token', False):  # which is timm's default
        return {} if encoder.final_norm else dict(final_norm=False)
    if not hasattr(encoder, 'ln2'):  # the norm stays ahead of the mean
        return dict(global_pool='avg', fc_norm=False,
                    **({} if encoder.final_norm else dict(final_norm=False)))
    if encoder.final_norm:
        raise UserError("timm's ViT has one norm at its end, and this one has two, before and "
                        'after the pooling (final_norm=True): export it to mmpretrain')
    return dict(global_pool='avg')


def _check_eps(norm: nn.Module, theirs: float) -> None:
    if norm.eps != theirs:
        raise UserError(f"timm's network has norms with eps={theirs:g} and this encoder with "
                        f'{norm.eps:g}: export it to transformers, torch or onnx')


def _swin_arguments(encoder: nn.Module) -> Tuple[str, dict]:
    shape = (encoder.embed_dims, tuple(encoder.depths))
    first = encoder.stages[0].blocks[0]
    _check_eps(first.norm1, 1e-5)
    windows = [stage.blocks[0].attn.window_size for stage in encoder.stages]
    patch = encoder.patch_embed.projection.kernel_size[0]
    grid = [length // patch for length in image_size(encoder)]
    side = min(grid)
    if encoder.use_abs_pos_embed or windows != [
            min(windows[0], side >> stage) for stage in range(len(windows))]:
        raise UserError('export to timm takes a Swin without absolute positions and with the '
                        f"same windows in all stages that hold one, not {windows} with "
                        f'use_abs_pos_embed={encoder.use_abs_pos_embed}')
    for stage, (depth, window) in enumerate(zip(encoder.depths, windows)):
        rows, columns = (length >> stage for length in grid)
        if depth > 1 and min(rows, columns) <= window < max(rows, columns):
            raise UserError(f"timm's Swin shifts windows along the long side of a grid that they "
                            f'span along the other, and this encoder does not: stage {stage} has '
                            f'windows of {window} in a grid of {rows}x{columns}; export it to '
                            'transformers, torch or onnx')
    name, arguments = SWIN.get(shape), {}
    heads = tuple(encoder.num_heads)
    if name is None or heads != tuple(shape[0] // 32 << stage for stage in range(len(heads))):
        name = name or 'swin_base_patch4_window7_224'
        arguments = dict(embed_dim=shape[0], depths=shape[1], num_heads=heads)
    if patch != 4:
        arguments['patch_size'] = patch
    if windows[0] != 7:
        arguments['window_size'] = windows[0]
    ratio = first.ffn.layers[0][0].out_features / shape[0]
    if ratio != 4:
        arguments['mlp_ratio'] = ratio
    return name, arguments
