"""Images that grow over the epochs: early ones, small, cost a fraction of the last ones."""
from math import lcm
from typing import List, Optional, Sequence, Tuple

from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.registry import PARAM_SCHEDULERS
from mmengine.runner import EpochBasedTrainLoop, Runner
from torch import nn

from mmwamim.datasets import RandomCropToTensor, ResumableSampler
from mmwamim.errors import UserError
from mmwamim.evaluation.features import image_size
from mmwamim.registry import HOOKS


@HOOKS.register_module()
class ResolutionScheduleHook(Hook):
    """Trains on crops whose size follows the epoch.

    The crop takes its size from the epoch that the sampler hands on with each image. So workers
    that persist need not be told, and a run that is resumed has the sizes of one that never
    stopped. The last size is that of the config's crop, so all that comes after pre-training is as
    without the schedule; at least the last epoch has it. Masks, positions and targets follow.

    Args:
        sizes: Sides of the images in pixels, one after the other.
        until: Shares of the run's epochs, rising to 1, at which each size ends. Default: parts of
            the same length.
        rates: What the learning rate is multiplied with at each size, in (0, 1]. Default: 1.

    Raises:
        UserError: Before training: a field has no such value, a size does not fit the model, or
            the data are not those of pre-training (``mmwamim.RandomCropToTensor`` and
            ``mmwamim.ResumableSampler``, in epochs).

    Examples:
        >>> custom_hooks = [dict(  # in a config
        ...     type='mmwamim.ResolutionScheduleHook', sizes=(128, 160, 192, 224))]
        >>> ResolutionScheduleHook((128, 160, 192, 224)).phases(100)
        [(0, 128), (25, 160), (50, 192), (75, 224)]
    """

    def __init__(self, sizes: Sequence[int], until: Optional[Sequence[float]] = None,
                 rates: Optional[Sequence[float]] = None) -> None:
        count = len(sizes)
        until = [(i + 1) / count for i in range(count)] if until is None else until
        rates = [1.] * count if rates is None else rates
        for name, values in (('until', until), ('rates', rates)):
            if len(values) != count:
                raise UserError(f'ResolutionScheduleHook: {name} has {len(values)} entries, but '
                                f'there are {count} sizes')
        if not count or any(size < 1 for size in sizes):
            raise UserError(f'ResolutionScheduleHook: sizes must be pixels, not {tuple(sizes)}')
        if list(until) != sorted(set(until)) or until[0] <= 0 or until[-1] != 1:
            raise UserError('ResolutionScheduleHook: until must be rising shares of the epochs, '
                            f'the last one 1, not {tuple(until)}')
        if any(not 0 < rate <= 1 for rate in rates):
            raise UserError('ResolutionScheduleHook: rates must lie above 0 and be at most 1, not '
                            f'{tuple(rates)}')
        self.sizes, self.until, self.rates = tuple(sizes), tuple(until), tuple(rates)
        self._told: Optional[int] = None

    def phases(self, epochs: int) -> List[Tuple[int, int]]:
        """First epoch (from 0) and size of each part of a run of so many epochs."""
        starts = [0, *(min(round(share * epochs), epochs - 1) for share in self.until[:-1])]
        return list(zip(starts, self.sizes))

    def size_at(self, epoch: int, epochs: int) -> int:
        """The side of the images of an epoch (from 0)."""
        return [size for start, size in self.phases(epochs) if start <= epoch][-1]

    def before_run(self, runner: Runner) -> None:
        """Before a checkpoint is loaded, since schedules are played up to its step then."""
        if not isinstance(runner._train_loop, EpochBasedTrainLoop):
            raise UserError('ResolutionScheduleHook needs a run whose length is given in epochs '
                            '(train_cfg.max_epochs)')
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        crop = _find_crop(runner)
        self._check(model, crop.size)
        crop.follow(self.phases(runner.max_epochs))
        self._add_rates(runner)

    def before_train_epoch(self, runner: Runner) -> None:
        now = self.size_at(runner.epoch, runner.max_epochs)
        if now != self._told:
            runner.logger.info(f'From epoch {runner.epoch + 1} on: images of {now} x {now} pixels')
        self._told = now

    def _check(self, model: nn.Module, usual: int) -> None:
        if self.sizes[-1] != usual:
            raise UserError(f'ResolutionScheduleHook: the last of sizes {self.sizes} must be that '
                            f'of the crop in train_dataloader.dataset.pipeline, {usual}')
        divisor, built_for = _divisor(model), image_size(model.backbone)
        if built_for != (usual, usual):
            raise UserError(f'ResolutionScheduleHook: the last of sizes {self.sizes} must be '
                            f'model.backbone.img_size, {built_for[0]} x {built_for[1]}')
        wrong = [size for size in self.sizes if size % divisor]
        if wrong:
            near = max(divisor, round(wrong[0] / divisor) * divisor)
            raise UserError(f'ResolutionScheduleHook: images of {wrong[0]} pixels do not divide '
                            f'into the mask units, windows and target cells of the model: sizes '
                            f'must be multiples of {divisor}, such as {near}')

    def _add_rates(self, runner: Runner) -> None:
        """A schedule of each size whose rate is another one."""
        starts = [start for start, _ in self.phases(runner.max_epochs)] + [runner.max_epochs]
        for rate, begin, end in zip(self.rates, starts, starts[1:]):
            if rate == 1 or begin == end:
                continue
            # MMEngine's ends with its last epoch but one, and gives the factor back there.
            runner.param_schedulers = [*(runner.param_schedulers or []), PARAM_SCHEDULERS.build(
                dict(type='ConstantLR', factor=rate, begin=begin, end=end + 1),
                default_args=dict(optimizer=runner.optim_wrapper))]


def _find_crop(runner: Runner) -> RandomCropToTensor:
    """The crop of the training images."""
    loader = runner.train_dataloader
    transforms = getattr(getattr(loader.dataset, 'pipeline', None), 'transforms', ())
    crops = [transform for transform in transforms if isinstance(transform, RandomCropToTensor)]
    sampler = getattr(loader.batch_sampler, 'sampler', loader.sampler)
    if len(crops) != 1 or not isinstance(sampler, ResumableSampler):
        raise UserError('ResolutionScheduleHook needs one mmwamim.RandomCropToTensor in '
                        'train_dataloader.dataset.pipeline, and train_dataloader.sampler of type '
                        'mmwamim.ResumableSampler')
    return crops[0]


def _divisor(model: nn.Module) -> int:
    """Pixels of which the sides of images must be multiples."""
    try:
        encoder, target = model.backbone, model.target_generator
        return lcm(model.mask_unit, *encoder.feature_strides, *target.grid_strides,
                   *getattr(encoder, 'window_strides', ()))
    except AttributeError:
        raise UserError('ResolutionScheduleHook needs mmwamim.WaMIM, whose masks, positions and '
                        f'targets follow the images, not {type(model).__name__}') from None
