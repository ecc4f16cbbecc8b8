"""Swin Transformer that computes visible tokens only, in every stage."""
from math import lcm
from numbers import Integral
from typing import Any, List, Sequence, Union

import torch
import torch.nn.functional as F
from mmpretrain.models import SwinTransformer
from mmpretrain.models.utils import WindowMSA, resize_pos_embed, to_2tuple
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mmwamim.errors import UserError
from mmwamim.registry import MODELS

from ..masking import MaskPlan, as_plan, upload
from ..tokens import reorder, take
from .initialization import loads_checkpoint
from .window_attention import group_attention, merge_patches, pair_biases, pair_rows
from .window_groups import Stage, WindowGroups, WindowPlan, group_windows, token_positions


@MODELS.register_module()
class SparseSwin(SwinTransformer):
    """mmpretrain's Swin Transformer, with a second way in for masked images.

    Called with the plan of a mask it computes visible tokens only, in every stage, and returns
    features taken after patch merging; called without one it is exactly its parent. Parameter names
    are the parent's, so a checkpoint loads ``strict=True`` into the stock ``SwinTransformer`` with
    the same ``out_indices`` (norms of other stages do not exist there).

    Visible tokens attend to the visible tokens of their window; windows are packed into groups
    (:mod:`.window_groups`). The norms of the stages' outputs take no gradient here, since the
    masked path does not reach them.

    Source: Huang et al., "Green Hierarchical Vision Transformer for Masked Image Modeling";
    WaMIM, "Implementation Details", encoder.

    Args:
        arch: 'tiny', 'small', 'base', 'large', or a dict, as in mmpretrain.
        img_size: The usual image size, in pixels. Other sizes work; this one decides whether a
            window is larger than a late stage's grid.
        window_size: Side of a window, in tokens. As in the original Swin, a stage whose grid
            is smaller at ``img_size`` has windows of its grid's size; the stock class needs
            ``stage_cfgs`` with the same ``window_size`` then (``stage_windows`` tells).
        cut_windows: Whether masked images may have sides that windows do not divide; those at
            their right and lower border are smaller then. Any multiple of the mask unit will do,
            as images that grow during training want.
        out_indices: Stages (from 0) whose outputs are returned, shallow to deep, one for each
            level of the target.
        drop_path_rate: Highest rate of stochastic depth.
        patch_size: Pixels of a patch.
        **parent: ``in_channels``, ``use_abs_pos_embed``, ``with_cp``, ``frozen_stages`` and so on
            of ``mmpretrain.SwinTransformer``.

    Attributes:
        feature_channels (tuple): Width of the features of each level.
        feature_strides (tuple): Pixels a token of each level.
        mask_unit (int): Pixels of the mask's unit: the stride of the last stage, 32.
        num_extra_tokens (int): 0.
        window_strides (tuple): Pixels of a window of each stage, which divide the sides of images;
            none with ``cut_windows``.
        needs_shared_mask (bool): True: one mask for the whole batch.
        stage_windows (tuple): The windows' sides in each stage.

    Raises:
        ValueError: ``out_indices`` names a stage that does not exist, or is not in rising order;
            the patch size or the merging is not square.
        TypeError: ``parent`` has a field that ``SwinTransformer`` does not know.

    Examples:
        >>> encoder = SparseSwin(arch='tiny', img_size=64, window_size=2, out_indices=(0, 3))
        >>> mask = torch.ones(1, 2, 2, dtype=torch.bool)  # one for the batch
        >>> mask[:, 0, 0] = False  # 1 of 4 units of 32 px is visible
        >>> [level.shape for level in encoder(torch.rand(2, 3, 64, 64), mask)]
        [torch.Size([2, 16, 192]), torch.Size([2, 1, 768])]
    """
    needs_shared_mask = True

    def __init__(self,
                 arch: Union[str, dict] = 'base',
                 img_size: Union[int, Sequence[int]] = 224,
                 window_size: int = 7,
                 out_indices: Sequence[int] = (0, 1, 2, 3),
                 drop_path_rate: float = 0.,
                 patch_size: int = 4,
                 cut_windows: bool = False,
                 **parent: Any) -> None:
        for field in ('out_after_downsample', 'patch_cfg', 'pad_small_map'):
            if field in parent:
                raise TypeError(f'SparseSwin does not support {field}: masked features are taken '
                                'after patch merging, of grids that windows divide')
        stages = len(self._settings(arch)['depths'])
        indices = list(out_indices)
        if not indices or sorted(set(indices)) != indices or not (
                0 <= indices[0] and indices[-1] < stages):
            raise ValueError(f'out_indices {tuple(indices)} must be different stages in rising '
                             f'order from 0 to {stages - 1}')
        if 'stage_cfgs' not in parent:
            height, width = (img_size, img_size) if isinstance(img_size, Integral) else img_size
            side = min(height, width) // patch_size
            parent['stage_cfgs'] = [dict(window_size=max(1, min(window_size, side >> stage)))
                                    for stage in range(stages)]
        super().__init__(arch=arch, img_size=img_size, patch_size=patch_size,
                         window_size=window_size, out_indices=tuple(indices),
                         drop_path_rate=drop_path_rate, **parent)
        self.stage_windows = tuple(stage.blocks[0].attn.window_size for stage in self.stages)
        self._check_parts()
        self.img_size = to_2tuple(img_size)

        # Strides of the stages' tokens, and of what comes out after merging.
        strides = [patch_size << stage for stage in range(stages)]
        merged = [*strides[1:], strides[-1]]
        self.patch_size = patch_size
        self.cut_windows = cut_windows
        self.mask_unit = strides[-1]
        self.window_strides = () if cut_windows else tuple(
            stride * window for stride, window in zip(strides, self.stage_windows))
        self.feature_strides = tuple(merged[index] for index in indices)
        self.feature_channels = tuple(self.stages[index].out_channels for index in indices)
        for index in indices:
            getattr(self, f'norm{index}').requires_grad_(False)

    @classmethod
    def _settings(cls, arch: Union[str, dict]) -> dict:
        if isinstance(arch, dict):
            return arch
        if arch.lower() not in cls.arch_zoo:
            raise ValueError(f'unknown arch {arch!r}: choose one of {", ".join(cls.arch_zoo)}, '
                             'or a dict with embed_dims, depths and num_heads')
        return cls.arch_zoo[arch.lower()]

    def _check_parts(self) -> None:
        """Only what :meth:`forward` repeats for visible tokens may be in the parent."""
        kernel = self.patch_embed.projection.kernel_size
        if kernel[0] != kernel[1] or self.patch_embed.projection.stride != kernel:
            raise ValueError(f'patch_size must be square, not {kernel}')
        for stage in self.stages:
            if any(type(block.attn.w_msa) is not WindowMSA for block in stage.blocks):
                raise ValueError('SparseSwin supports the window attention of Swin v1 only')
            merging = stage.downsample
            if merging is not None and merging.sampler.kernel_size != (2, 2):
                raise ValueError('downsample_cfg must merge 2x2 tokens')

    def train(self, mode: bool = True) -> 'SparseSwin':
        """Sets training mode and returns self, which the parent forgets."""
        super().train(mode)
        return self

    def init_weights(self) -> None:
        """As the parent, and a Xavier-uniform patch embedding; nothing where ``init_cfg`` loads
        a checkpoint."""
        # The grandparent's: the parent draws positions anew after a list of init_cfg loaded them.
        super(SwinTransformer, self).init_weights()
        if loads_checkpoint(self.init_cfg):
            return
        if self.use_abs_pos_embed:
            nn.init.trunc_normal_(self.absolute_pos_embed, std=0.02)
        # The convolution is a linear layer on flattened patches, and is initialised as one.
        nn.init.xavier_uniform_(self.patch_embed.projection.weight.flatten(1))

    def forward(self, images: Tensor,
                plan: Union[MaskPlan, Tensor, None] = None) -> Union[List[Tensor], tuple]:
        """Encodes images.

        Args:
            images: Normalised images (B, C, H, W), whose sides are multiples of the mask unit
                and, without ``cut_windows``, of each stage's stride times its window.
            plan: Of a mask (1, H / mask_unit, W / mask_unit), or the mask itself, bool, True =
                masked; None for the parent's forward pass.

        Returns:
            With a plan a list of (B, visible, C), one for each of ``out_indices``, after patch
            merging and before any norm, the visible tokens in raster order of that level's
            grid. Without one what the parent returns: before merging, after the norm.

        Raises:
            ValueError: Image size, windows or mask do not fit each other (UserError: the size).
        """
        if plan is None:
            return super().forward(images)
        plan = as_plan(plan, images.device)
        self._check_sizes(images, plan)
        # Planned here only for a mask of one's own, which is read from the device.
        windows = plan.windows
        if windows is None:
            windows = upload(self.plan_windows(plan.mask.cpu()), images.device)
        tokens = self._embed_visible(images, windows)
        features = []
        for index, (stage, known) in enumerate(zip(self.stages, windows.stages)):
            for block, groups, bias in self._plan_blocks(stage, known, self.stage_windows[index]):
                tokens = self._run_block(block, tokens, groups, bias)
            if stage.downsample is not None:
                tokens = merge_patches(stage.downsample, tokens)
            if index in self.out_indices:
                features.append(tokens if known.raster is None else
                                reorder(tokens, *known.raster))
            if index == self.out_indices[-1]:
                break
        return features

    def plan_windows(self, mask: Tensor) -> WindowPlan:
        """What depends on the mask alone.

        Args:
            mask: bool (1, rows, cols) of mask units on the CPU, True = masked.

        Returns:
            A plan on the CPU.

        Raises:
            ValueError: Nothing is visible.
        """
        units = (~mask[0]).nonzero().numpy()
        if len(units) == 0:
            raise ValueError('mask leaves nothing visible')
        stages = []
        for index, window in enumerate(self.stage_windows):
            size = self.mask_unit // (self.patch_size << index)  # tokens along a unit's side
            positions = token_positions(units, size)
            # Swin does not shift where one window spans the grid.
            one_window = window >= min(mask.shape[1:]) * size
            shift = 0 if one_window else window // 2
            merged = max(size // 2, 1)
            raster = None
            if merged > 1 and index in self.out_indices:
                row, column = token_positions(units, merged).T
                order = torch.from_numpy(row * mask.shape[2] * merged + column)[None].argsort()
                raster = (order, order.argsort())
            stages.append(Stage(
                group_windows(positions, window, 0),
                group_windows(positions, window, shift) if shift else None, raster))
        patches = token_positions(units, self.mask_unit // self.patch_size)
        return WindowPlan(*torch.from_numpy(patches).T, tuple(stages))

    def _check_sizes(self, images: Tensor, plan: MaskPlan) -> None:
        height, width = images.shape[2:]
        unit, mask = self.mask_unit, tuple(plan.mask.shape)
        step = lcm(unit, *self.window_strides)  # one advice that satisfies all
        if height % step or width % step:
            way = '' if self.cut_windows or step == unit else \
                f', another window_size, or cut_windows=True, which takes multiples of {unit} px'
            raise UserError(
                f'image size {height}x{width}: sides must be divisible by {step} px (the mask '
                f'unit {unit}{", the windows of all stages" if step != unit else ""}){way}')
        grid = (height // unit, width // unit)
        if mask[0] != 1:
            raise ValueError(f'mask {mask}: SparseSwin needs one mask for the whole batch, '
                             '(1, rows, cols): set shared_mask=True in WaMIM')
        if plan.grid != grid:
            raise ValueError(f'mask {mask} must be (1, {grid[0]}, {grid[1]}): one unit for each '
                             f'{unit}x{unit} px')

    def _embed_visible(self, images: Tensor, windows: WindowPlan) -> Tensor:
        """(B, C, H, W) -> (B, visible, D), unit by unit in nested order."""
        patch, rows, columns = self.patch_size, windows.rows, windows.columns
        # (B, C, rows, P, cols, P) -> view (B, rows, cols, C, P, P): picking the visible cells of
        # the view copies those alone, (B, visible, C, P, P).
        cells = images.unflatten(3, (-1, patch)).unflatten(2, (-1, patch)).permute(0, 2, 4, 1, 3, 5)
        visible = cells[:, rows, columns].flatten(2)
        projection = self.patch_embed.projection
        tokens = F.linear(visible, projection.weight.flatten(1), projection.bias)
        if self.patch_embed.norm is not None:
            tokens = self.patch_embed.norm(tokens)
        if self.use_abs_pos_embed:
            grid = (images.shape[2] // patch, images.shape[3] // patch)
            positions = resize_pos_embed(self.absolute_pos_embed, self.patch_resolution, grid,
                                         self.interpolate_mode, self.num_extra_tokens)
            tokens = tokens + take(positions[0], (rows * grid[1] + columns)[None])
        return self.drop_after_pos(tokens)

    @staticmethod
    def _plan_blocks(stage: nn.Module, known: Stage, window: int) -> list:
        """Each block of a stage with its groups and its bias (G * heads, S, S)."""
        planned = [None] * len(stage.blocks)
        for shifted in (False, True):  # such blocks share their groups and the rows of their biases
            which = [index for index, block in enumerate(stage.blocks)
                     if (block.attn.shift_size > 0 and known.shifted is not None) is shifted]
            if not which:
                continue
            groups = known.shifted if shifted else known.plain
            tables = [stage.blocks[index].attn.w_msa.relative_position_bias_table
                      for index in which]
            for index, bias in zip(which, pair_biases(tables, pair_rows(groups, window))):
                planned[index] = stage.blocks[index], groups, bias
        return planned

    @staticmethod
    def _run_block(block: nn.Module, tokens: Tensor, groups: WindowGroups,
                   bias: Tensor) -> Tensor:
        """One Swin block on visible tokens: attention in groups, MLP on the tokens themselves."""

        def run(tokens: Tensor) -> Tensor:
            attended = group_attention(block.attn.w_msa, block.norm1(tokens), groups, bias)
            tokens = tokens + block.attn.drop(attended)
            return block.ffn(block.norm2(tokens), identity=tokens)

        if block.with_cp and tokens.requires_grad:
            return checkpoint(run, tokens, use_reentrant=False)
        return run(tokens)
