"""iBOT: the teacher of a self-distillation is the tokenizer of the masked patches."""
from typing import Dict, List, Optional, Tuple

import torch
import torch.nn.functional as F
from mmengine.dist import all_reduce
from mmengine.logging import MessageHub
from mmengine.model import BaseModule
from mmpretrain.models.selfsup import BaseSelfSupervisor
from mmpretrain.models.utils import CosineEMA
from torch import Tensor, nn

from mmwamim.registry import MODELS

from ..masking import upload
from .block_masks import draw_block_mask

SHAPES = ('block', 'random')


@MODELS.register_module()
class SelfDistillationHead(BaseModule):
    """Tokens to scores of prototypes: three linear layers, then cosines with the prototypes.

    Class token and patches share it. The products with the prototypes are float32 under autocast,
    too: divided by a temperature of 0.04 the rounding of bfloat16 would be up to 0.05.

    Source: Zhou et al., "iBOT: Image BERT Pre-Training with Online Tokenizer", ICLR 2022.

    Args:
        in_channels: Width of the tokens.
        out_channels: Prototypes.
        hidden_channels: Width of the hidden layers.
        bottleneck_channels: Width in which cosines are taken.
        init_cfg: MMEngine's initialisation config.

    Attributes:
        frozen: Whether the prototypes, the last layer, get no gradient.

    Examples:
        >>> head = SelfDistillationHead(8, out_channels=16, hidden_channels=8,
        ...                             bottleneck_channels=4)
        >>> head(torch.rand(2, 5, 8)).shape
        torch.Size([2, 5, 16])
    """

    def __init__(self, in_channels: int, out_channels: int = 8192, hidden_channels: int = 2048,
                 bottleneck_channels: int = 256, init_cfg: Optional[dict] = None) -> None:
        super().__init__(init_cfg)
        self.layers = nn.Sequential(
            nn.Linear(in_channels, hidden_channels), nn.GELU(),
            nn.Linear(hidden_channels, hidden_channels), nn.GELU(),
            nn.Linear(hidden_channels, bottleneck_channels))
        self.prototypes = nn.Parameter(torch.empty(out_channels, bottleneck_channels))
        nn.init.normal_(self.prototypes, std=bottleneck_channels**-0.5)
        self.frozen = False

    def init_weights(self) -> None:
        super().init_weights()
        for layer in self.layers:
            if isinstance(layer, nn.Linear):
                nn.init.trunc_normal_(layer.weight, std=0.02)
                nn.init.zeros_(layer.bias)

    def forward(self, tokens: Tensor) -> Tensor:
        """(..., in_channels) -> cosines, float32 (..., out_channels)."""
        return self.score(self.embed(tokens))

    def embed(self, tokens: Tensor) -> Tensor:
        """(..., in_channels) -> float32 vectors of length one (..., bottleneck_channels)."""
        return F.normalize(self.layers(tokens).float(), dim=-1)

    def score(self, embedded: Tensor) -> Tensor:
        """Products with the prototypes, linear in what :meth:`embed` gives."""
        prototypes = self.prototypes.detach() if self.frozen else self.prototypes
        with torch.autocast(embedded.device.type, enabled=False):
            return F.linear(embedded.float(), F.normalize(prototypes.float(), dim=-1))


class Teacher(CosineEMA):
    """mmpretrain's moving average with a cosine, which counts its steps on the host.

    There the counter is read back from the device for every parameter.
    """

    taken: Optional[int] = None  # what the counter says, once it was read

    @torch.no_grad()
    def update_parameters(self, model: nn.Module) -> None:
        """Moves towards ``model``, which has the same parameters; the first step copies them."""
        if self.taken is None:
            self.taken = int(self.steps)
        sources = dict(model.named_parameters())
        for name, average in self.avg_parameters.items():
            if self.taken == 0:
                average.copy_(sources[name])
            else:
                self.avg_func(average, sources[name], self.taken)
        for average, source in zip(self.module.buffers(), model.buffers(), strict=True):
            average.copy_(source)
        self.taken += 1
        self.steps += 1

    def _load_from_state_dict(self, *arguments) -> None:
        super()._load_from_state_dict(*arguments)
        self.taken = None


@MODELS.register_module()
class IBOT(BaseSelfSupervisor):
    """Self-distillation of the class token across views, and of masked patches within a view.

    The student sees two global views with masked patches and any number of smaller local views;
    the teacher, a moving average of the student, sees the global views whole. The teacher is
    always in evaluation mode: it drops no path.

    Source: Zhou et al., "iBOT: Image BERT Pre-Training with Online Tokenizer", ICLR 2022, Eq. 2
    and 3, and its official code; class token: Caron et al., "Emerging Properties in
    Self-Supervised Vision Transformers" (DINO).

    The features of an image are its class token (``pools_token``): that is what the loss across
    views compares, and what the official code takes for k-NN and, of four layers, for the linear
    probe of a ViT-S. For that of a ViT-B it sets the mean of the patches beside it. It takes the
    teacher's; ``encoder.pth`` has the student, as of every method.

    Args:
        backbone: ViT that maps (images, bool mask (B, N)) to (B, 1 + N, C), and images with mask
            None to a tuple that ends with the same, such as ``mmpretrain.MaskFeatViT``.
        head: Embeds tokens and scores them, such as ``SelfDistillationHead``.
        mask_ratio: Lowest and highest share of masked patches of a masked view.
        mask_shape: 'block' or 'random' patches. Blocks mask at most the drawn share.
        masked_views: Share of global views that are masked, on average.
        momentum: Of the teacher at the start: it takes this share of the student at each step,
            going to 0 by a cosine.
        student_temperature: Divides the student's scores.
        teacher_temperature: In the first epoch, and from the last epoch of its warm-up on.
        warmup_epochs: Over which the teacher's temperature changes evenly, one step an epoch.
        center_momentum: Of the teacher's mean scores, which are subtracted.
        frozen_epochs: At the start, in which the prototypes are not trained. They get no gradient
            then, so that several processes need ``find_unused_parameters``.
        data_preprocessor: As in mmpretrain; default ``SelfSupDataPreprocessor``.
        init_cfg: MMEngine's initialisation config.

    Raises:
        ValueError: A share lies outside [0, 1], ``mask_ratio`` is not rising, or ``mask_shape`` is
            unknown.
    """

    pools_token = True

    def __init__(self,
                 backbone: dict,
                 head: dict,
                 mask_ratio: Tuple[float, float] = (0.1, 0.5),
                 mask_shape: str = 'block',
                 masked_views: float = 0.5,
                 momentum: float = 0.004,
                 student_temperature: float = 0.1,
                 teacher_temperature: Tuple[float, float] = (0.04, 0.07),
                 warmup_epochs: int = 30,
                 center_momentum: float = 0.9,
                 frozen_epochs: int = 1,
                 data_preprocessor: Optional[dict] = None,
                 init_cfg: Optional[dict] = None) -> None:
        for field, value in (('masked_views', masked_views), ('momentum', momentum),
                             ('center_momentum', center_momentum)):
            if not 0 <= value <= 1:
                raise ValueError(f'{field} must lie in [0, 1], not {value}')
        if not 0 < mask_ratio[0] <= mask_ratio[1] < 1:
            raise ValueError(f'mask_ratio must be two rising shares between 0 and 1, not '
                             f'{tuple(mask_ratio)}')
        if mask_shape not in SHAPES:
            raise ValueError(f'mask_shape must be one of {", ".join(SHAPES)}, not {mask_shape!r}')
        super().__init__(backbone=backbone, head=head, data_preprocessor=data_preprocessor,
                         init_cfg=init_cfg)
        self.backbone.pools_token = self.pools_token
        self.mask_ratio = tuple(mask_ratio)
        self.mask_shape = mask_shape
        self.masked_views = masked_views
        self.student_temperature = student_temperature
        self.teacher_temperature = tuple(teacher_temperature)
        self.warmup_epochs = warmup_epochs
        self.center_momentum = center_momentum
        self.frozen_epochs = frozen_epochs
        self.teacher = Teacher(nn.ModuleList([self.backbone, self.head]), momentum=momentum)
        prototypes = self.head.prototypes.shape[0]
        self.register_buffer('class_center', torch.zeros(prototypes))
        self.register_buffer('patch_center', torch.zeros(prototypes))
        self.train(self.training)

    def init_weights(self) -> None:
        """The student's; the teacher begins as its copy."""
        super().init_weights()
        self.teacher.module.load_state_dict(
            nn.ModuleList([self.backbone, self.head]).state_dict())

    def train(self, mode: bool = True) -> 'IBOT':
        """As torch's, but the teacher stays in evaluation mode."""
        super().train(mode)
        self.teacher.eval()
        return self

    def loss(self, inputs: List[Tensor], data_samples: Optional[list] = None) -> Dict[str, Tensor]:
        """The whole method.

        Args:
            inputs: Views: two global ones (B, C, H, W), then local ones, each a tensor.
            data_samples: Not used; part of mmpretrain's interface.

        Raises:
            ValueError: There are fewer than two views.
        """
        if not isinstance(inputs, (list, tuple)) or len(inputs) < 2:
            raise ValueError('IBOT needs at least two views of every image: see MultiView in '
                             'configs/baselines/ibot_vit_b_400e.py')
        images, local = torch.cat(inputs[:2]), inputs[2:]
        mask = self.draw_masks(images)
        where, weights = self._masked_patches(mask, images.device)
        self.head.frozen = self._epoch() < self.frozen_epochs

        with torch.no_grad():
            self.teacher.update_parameters(nn.ModuleList([self.backbone, self.head]))
            backbone, head = self.teacher.module
            tokens = head.embed(backbone(images, None)[-1])
            teacher_classes = head.score(tokens[:, 0])
            teacher_patches = head.score(tokens[:, 1:].flatten(0, 1)[where])
            # Scores are linear in the vectors, so the mean of all patches' scores needs no scores.
            mean_patch = head.score(tokens[:, 1:].mean((0, 1)))
        tokens = self.backbone(images, upload(mask, images.device))
        classes = [self.head(tokens[:, 0])]
        patches = self.head(tokens[:, 1:].flatten(0, 1)[where])
        if local:
            classes.append(self.head(self.backbone(torch.cat(list(local)), None)[-1][:, 0]))

        losses = dict(
            loss_class=self._class_loss(torch.cat(classes), teacher_classes, len(inputs)),
            loss_patch=(self._cross_entropy(patches, teacher_patches, self.patch_center)
                        * weights).sum())
        self._move_center(self.class_center, teacher_classes.mean(0), len(images))
        self._move_center(self.patch_center, mean_patch, len(images))
        return losses

    def draw_masks(self, images: Tensor) -> Tensor:
        """Draws the masked patches of global views: bool (B, N) on the CPU, True = masked."""
        rows, cols = self.backbone.patch_resolution
        batch, count = images.shape[0], rows * cols
        low, high = self.mask_ratio
        ratio = low + (high - low) * torch.rand(batch)
        ratio = torch.where(torch.rand(batch) < self.masked_views, ratio, 0.)
        if self.mask_shape == 'block':
            return torch.stack([draw_block_mask((rows, cols), share * count)
                                for share in ratio.tolist()]).flatten(1)
        rank = torch.rand(batch, count).argsort(1).argsort(1)
        return rank < (ratio * count).floor().unsqueeze(1)

    @staticmethod
    def _masked_patches(mask: Tensor, device: torch.device) -> Tuple[Tensor, Tensor]:
        """Places of masked patches among all, and weights: a view's loss is the mean over its
        masked patches, zero without any, and every view counts the same, masked or not."""
        counts = mask.sum(1)
        weights = (1 / counts.clamp_min(1)).repeat_interleave(counts) / len(mask)
        return (upload(mask.flatten().nonzero().squeeze(1), device),
                upload(weights, device))

    def _class_loss(self, student: Tensor, teacher: Tensor, views: int) -> Tensor:
        """Mean over all pairs of a teacher's global view and another view of the student."""
        student, teacher = student.chunk(views), teacher.chunk(2)
        pairs = [self._cross_entropy(ours, theirs, self.class_center).mean()
                 for j, theirs in enumerate(teacher) for i, ours in enumerate(student) if i != j]
        return torch.stack(pairs).mean()

    def _cross_entropy(self, student: Tensor, teacher: Tensor, center: Tensor) -> Tensor:
        """(M, prototypes) each -> (M,)."""
        wanted = ((teacher - center) / self._temperature()).softmax(-1)
        return -(wanted * (student / self.student_temperature).log_softmax(-1)).sum(-1)

    @staticmethod
    def _epoch() -> int:
        return MessageHub.get_current_instance().runtime_info.get('epoch', 0)

    def _temperature(self) -> float:
        start, end = self.teacher_temperature
        return start + (end - start) * min(1., self._epoch() / max(self.warmup_epochs - 1, 1))

    @torch.no_grad()
    def _move_center(self, center: Tensor, mean: Tensor, count: int) -> None:
        """Moves a center towards the mean over all processes, each with ``count`` images."""
        total, count = mean * count, mean.new_tensor(float(count))
        all_reduce(total)
        all_reduce(count)
        center.lerp_(total / count, 1 - self.center_momentum)
