"""WaMIM: the map of the method. Start reading at :meth:`WaMIM.loss`."""
from inspect import signature
from numbers import Integral
from typing import Dict, List, Optional, Sequence, Tuple, Union

import torch
from mmpretrain.models.selfsup import BaseSelfSupervisor
from torch import Tensor, nn

from mmwamim.errors import UserError
from mmwamim.registry import MODELS

from .draws import NOISE_BELOW, LevelDraw, count_drawn, draw_level, draw_noise
from .masking import (
    MaskPlan,
    as_plan,
    count_predicted,
    count_visible,
    mask_of_noise,
    repeat_units,
    upload,
)


@MODELS.register_module()
class WaMIM(BaseSelfSupervisor):
    """Masked image modeling with multi-level targets.

    With a wavelet target this is WaMIM ("Wavelet-Driven Masked Image Modeling: A Path to
    Efficient Visual Representation"); any encoder and target that keep the contracts of their
    base classes can be put in.

    Args:
        backbone: Encoder that maps (images, plan) to a list of features, such as
            ``mmwamim.MaskedViT``.
        neck: Decoder that maps (features, plan) to predictions; what it must know of encoder and
            target is filled in.
        head: Maps (predictions, targets, plan) to a dict of losses; the levels' names are filled
            in.
        target_generator: Maps images to targets.
        mask_ratio: Share of masked units, in (0, 1).
        mask_unit: Pixels of a unit of the mask. Default: what the encoder names.
        shared_mask: One mask for all images of a rank's batch instead of one an image.
        predict_ratio: Share of all units that are predicted, a random part of the masked ones,
            above 0 and at most ``mask_ratio``; default: all masked ones.
        decode_ratio: Share of its masked cells that each level decodes in a training step, each
            image and level its own, in (0, 1); default: all. For decoders of several levels; the
            loss is the same in the mean over draws (:mod:`.draws`).
        data_preprocessor: As in mmpretrain; default ``SelfSupDataPreprocessor``.
        init_cfg: MMEngine's initialisation config.

    Raises:
        ValueError: Parts do not fit each other; the message names the field.

    Examples:
        >>> model = WaMIM(
        ...     backbone=dict(type='mmwamim.MaskedViT', arch=dict(embed_dims=32, num_layers=4,
        ...                   num_heads=2, feedforward_channels=64), img_size=32, patch_size=8,
        ...                   out_indices=(1, 3)),
        ...     neck=dict(type='mmwamim.MultiLevelDecoder', embed_dims=16, num_heads=2),
        ...     target_generator=dict(type='mmwamim.WaveletTargetGenerator', levels=(2, 3)),
        ...     head=dict(type='mmwamim.MultiLevelMIMHead', loss_weights=(0.9, 1.1)))
        >>> losses = model.loss(torch.rand(2, 3, 32, 32), [])
        >>> [name for name in losses if name.startswith('loss')]
        ['loss_level2', 'loss_level3']
    """

    def __init__(self,
                 backbone: dict,
                 neck: dict,
                 head: dict,
                 target_generator: dict,
                 mask_ratio: float = 0.75,
                 mask_unit: Optional[int] = None,
                 shared_mask: bool = False,
                 predict_ratio: Optional[float] = None,
                 decode_ratio: Optional[float] = None,
                 data_preprocessor: Optional[dict] = None,
                 init_cfg: Optional[dict] = None) -> None:
        visible = count_visible(10**6, mask_ratio)  # raises on a ratio outside (0, 1)
        if predict_ratio is not None:
            count_predicted(10**6, visible, mask_ratio, predict_ratio)
        if decode_ratio is not None:
            count_drawn(10**6, decode_ratio)
            if predict_ratio is not None:
                raise ValueError('decode_ratio and predict_ratio both draw what is decoded: set '
                                 'one of them')
        backbone = _build(backbone)
        target_generator = _build(target_generator)
        mask_unit = backbone.mask_unit if mask_unit is None else mask_unit
        if not isinstance(mask_unit, Integral) or mask_unit < 1 or mask_unit % backbone.mask_unit:
            raise ValueError(f'mask_unit {mask_unit!r} must be a multiple of the '
                             f'{backbone.mask_unit} px that {type(backbone).__name__} masks')
        if getattr(backbone, 'needs_shared_mask', False) and not shared_mask:
            raise ValueError(f'{type(backbone).__name__} needs one mask for the whole batch: set '
                             'shared_mask=True')
        _check_cells(target_generator, getattr(backbone, 'img_size', None))
        neck = _build(
            neck,
            in_channels=backbone.feature_channels,
            feature_strides=backbone.feature_strides,
            out_channels=target_generator.channels,
            target_strides=target_generator.grid_strides,
            mask_unit=backbone.mask_unit,
            num_extra_tokens=backbone.num_extra_tokens,
            image_size=getattr(backbone, 'img_size', None))
        if decode_ratio is not None and not getattr(neck, 'decodes_draws', False):
            raise ValueError(f'{type(neck).__name__} cannot decode a share of its cells: leave '
                             'out decode_ratio, or use mmwamim.MultiLevelDecoder')
        head = _build(head, level_names=target_generator.level_names)
        super().__init__(
            backbone=backbone,
            neck=neck,
            head=head,
            target_generator=target_generator,
            data_preprocessor=data_preprocessor,
            init_cfg=init_cfg)
        self.mask_ratio = mask_ratio
        self.mask_unit = mask_unit
        self.shared_mask = shared_mask
        self.predict_ratio = predict_ratio
        self.decode_ratio = decode_ratio

    def loss(self, inputs: Tensor, data_samples: Optional[list] = None,
             plan: Optional[MaskPlan] = None) -> Dict[str, Tensor]:
        """The whole method.

        Args:
            inputs: Normalised images (B, C, H, W), sides divisible by the mask unit and the
                coarsest target cell.
            data_samples: Not used; part of mmpretrain's interface.
            plan: Of a mask of one's own (:meth:`MaskPlan.from_mask`); default: drawn.

        Returns:
            ``loss_<level>``, a weighted loss for each level, and ``explained_<level>``, the share
            of its target's variance that is predicted; scalars. The sum of the losses is the loss.
        """
        plan = self.plan_mask(inputs) if plan is None else plan
        features = self.backbone(inputs, plan)
        predictions = self.neck(features, plan)
        targets = self.target_generator(inputs)
        return self.head(predictions, targets, plan)

    def plan_mask(self, images: Tensor) -> MaskPlan:
        """Draws the mask of one step for images (B, C, H, W), and plans what follows from it.

        The numbers are torch's, of the CPU's generator; they go to the images' device in one copy.
        Nothing waits for that device, so the host plans a step while the one before still runs.

        Returns:
            The plan on the device of the images, in the encoder's own mask units.

        Raises:
            UserError: The image size is not divisible by the mask unit.
        """
        height, width = images.shape[-2:]
        if height % self.mask_unit or width % self.mask_unit:
            raise UserError(f'image size {height}x{width} must be divisible by mask_unit = '
                            f'{self.mask_unit}')
        grid = (height // self.mask_unit, width // self.mask_unit)
        units = grid[0] * grid[1]
        visible = count_visible(units, self.mask_ratio)
        times = self.mask_unit // self.backbone.mask_unit
        predicted, parts = None, [visible]
        if self.predict_ratio is not None:  # those of the largest noise
            predicted = count_predicted(units, visible, self.mask_ratio, self.predict_ratio)
            parts.append(units - predicted)
        noise, windows = torch.rand(1 if self.shared_mask else images.shape[0], *grid), None
        drawn = [draw_noise(len(images), height // side * (width // side))
                 for side in self._drawn_strides()]
        if drawn:  # one type, for one copy; float32 of torch's are such whole numbers
            noise = (noise * NOISE_BELOW).long()
        if hasattr(self.backbone, 'plan_windows'):
            masks = [repeat_units(mask_of_noise(noise, part), times, times) for part in parts]
            masks, windows, drawn = upload(([mask.long() for mask in masks],
                                            self.backbone.plan_windows(masks[0]), drawn),
                                           images.device)
            masks = [mask.bool() for mask in masks]
        else:
            noise, drawn = upload((noise, drawn), images.device)
            masks = [repeat_units(mask_of_noise(noise, part), times, times) for part in parts]
        plan = MaskPlan.arrange(masks[0], visible * times**2, windows, *masks[1:],
                                num_predicted=predicted and predicted * times**2)
        return plan._replace(draws=self._draw_levels(plan, drawn)) if drawn else plan

    def _drawn_strides(self) -> List[int]:
        """Pixels along a cell that is decoded at once, one a level; none where all are decoded."""
        if self.decode_ratio is None:
            return []
        return [max(strides) for strides in zip(self.backbone.feature_strides,
                                                self.target_generator.grid_strides)]

    def _draw_levels(self, plan: MaskPlan, drawn: List[Tensor]) -> Tuple[LevelDraw, ...]:
        """The cells of each level, of their noise (B, cells)."""
        features = self.backbone.feature_strides
        plans = {stride: plan.refine(self.backbone.mask_unit // stride) for stride in features}
        return tuple(
            draw_level(plans[stride], noise, self.decode_ratio, (side // stride, ) * 2)
            for stride, side, noise in zip(features, self._drawn_strides(), drawn))

    @torch.no_grad()
    def predict_targets(self, inputs: Tensor, plan: Union[MaskPlan, Tensor, None] = None
                        ) -> Tuple[List[Tensor], List[Tensor], Tensor]:
        """Predictions, targets and the mask for pictures and analysis, without gradient.

        Args:
            inputs: As in :meth:`loss`.
            plan: A plan, or a bool mask (B or 1, rows, cols); default: drawn.

        Returns:
            (list of predictions, list of targets, mask), all float32 but the bool mask.
        """
        plan = self.plan_mask(inputs) if plan is None else as_plan(plan, inputs.device)
        predictions: List[Tensor] = self.neck(self.backbone(inputs, plan), plan)
        targets = self.target_generator(inputs)
        return [level.float() for level in predictions], targets, plan.mask


def _check_cells(target_generator: nn.Module, size: Optional[Union[int, Sequence[int]]]) -> None:
    """Raises ValueError if a cell of the target is larger than the images, or these are none."""
    if size is not None and min([size] if isinstance(size, Integral) else size) < 1:
        raise ValueError(f"backbone: img_size must be positive, not {size}")
    coarsest = max(target_generator.grid_strides)
    if size is not None and coarsest > min([size] if isinstance(size, Integral) else size):
        raise ValueError(f'target_generator: its coarsest cells are {coarsest} pixels wide, and the'
                         f" images (the backbone's img_size) {size}: take finer levels")


def _build(config, **filled_in):
    """Builds a part from its config; ``filled_in`` are fields the other parts decide."""
    if isinstance(config, torch.nn.Module):
        return config
    kind = MODELS.get(config['type']) if isinstance(config['type'], str) else config['type']
    # A neck of one's own need not make constants for a size. An unknown kind is told by `build`.
    if 'image_size' in filled_in and kind and 'image_size' not in signature(kind).parameters:
        del filled_in['image_size']
    return MODELS.build(dict(filled_in, **config))
