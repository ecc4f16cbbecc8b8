"""Images that grow over the epochs: early ones, small, cost a fraction of the last ones."""
from math import isclose, lcm, prod
from numbers import Integral, Real
from typing import Any, Iterable, List, Optional, Sequence, Tuple

from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.registry import PARAM_SCHEDULERS
from mmengine.runner import EpochBasedTrainLoop, Runner
from mmengine.utils import to_2tuple
from torch import nn
from torch.utils.data import Dataset

from mmwamim.datasets import RandomCropToTensor, ResumableSampler
from mmwamim.datasets.crop import Size
from mmwamim.errors import UserError
from mmwamim.evaluation.features import known_image_size
from mmwamim.models.masking import count_visible
from mmwamim.registry import HOOKS

NEEDS_EPOCHS = ('ResolutionScheduleHook needs a run whose length is given in epochs '
                '(train_cfg.max_epochs)')
NEEDS = ('ResolutionScheduleHook needs one mmwamim.RandomCropToTensor in train_dataloader.dataset.'
         'pipeline, and train_dataloader.sampler of type mmwamim.ResumableSampler')


@HOOKS.register_module()
class ResolutionScheduleHook(Hook):
    """Trains on crops whose size follows the epoch.

    The crop takes its size from the epoch that the sampler hands on with each image. So workers
    that persist need not be told, and a run that is resumed has the sizes of one that never
    stopped. The last size is that of the config's crop, so all that comes after pre-training is as
    without the schedule; at least the last epoch has it. Masks, positions and targets follow.

    Args:
        sizes: Sides of the images in pixels, or heights and widths, one after the other.
        until: Shares of the run's epochs, rising to 1, at which each size ends. Default: parts of
            the same length.
        rates: What the learning rate is multiplied with at each size, in (0, 1]. Default: 1.

    Raises:
        UserError: Before training: a field has no such value, a size does not fit the model or
            its ``mask_ratio``, or the data are not those of pre-training
            (``mmwamim.RandomCropToTensor`` and ``mmwamim.ResumableSampler``, in epochs).

    Examples:
        >>> custom_hooks = [dict(  # in a config
        ...     type='mmwamim.ResolutionScheduleHook', sizes=(128, 160, 192, 224))]
        >>> ResolutionScheduleHook((128, 160, 192, 224)).phases(100)
        [(0, 128), (25, 160), (50, 192), (75, 224)]
    """

    def __init__(self, sizes: Sequence[Size], until: Optional[Sequence[float]] = None,
                 rates: Optional[Sequence[float]] = None) -> None:
        sizes = _listed('sizes', sizes)
        count = len(sizes)
        until = [(i + 1) / count for i in range(count)] if until is None \
            else _listed('until', until)
        rates = [1.] * count if rates is None else _listed('rates', rates)
        for name, values in (('until', until), ('rates', rates)):
            if len(values) != count:
                raise UserError(f'ResolutionScheduleHook: {name} has {len(values)} entries, but '
                                f'there are {count} sizes')
        if not count or not all(_is_size(size) for size in sizes):
            raise UserError('ResolutionScheduleHook: sizes must be pixels, or pairs of height and '
                            f'width, not {tuple(sizes)}')
        rising = all(isinstance(share, Real) and share > before
                     for before, share in zip([0, *until], until))
        if not rising or not isclose(until[-1], 1):  # the sum of some shares is 1 but for rounding
            raise UserError('ResolutionScheduleHook: until must be rising shares of the epochs, '
                            f'the last one 1, not {tuple(until)}')
        if not all(isinstance(rate, Real) and 0 < rate <= 1 for rate in rates):
            raise UserError('ResolutionScheduleHook: rates must lie above 0 and be at most 1, not '
                            f'{tuple(rates)}')
        self.sizes = tuple(int(size) if isinstance(size, Integral) else tuple(map(int, size))
                           for size in sizes)
        self.until, self.rates = tuple(until), tuple(rates)
        self._told: Optional[Size] = None

    def phases(self, epochs: int) -> List[Tuple[int, Size]]:
        """First epoch (from 0) and size of each part of a run of so many epochs."""
        starts = [0, *(min(round(share * epochs), epochs - 1) for share in self.until[:-1])]
        return list(zip(starts, self.sizes))

    def size_at(self, epoch: int, epochs: int) -> Size:
        """The size of the images of an epoch (from 0)."""
        return [size for start, size in self.phases(epochs) if start <= epoch][-1]

    def work(self, done: float, epochs: int) -> float:
        """What the first ``done`` epochs cost, in epochs of the last size; a step's time goes
        about with the pixels of its images."""
        starts, pixels = zip(*((start, prod(to_2tuple(size)))
                               for start, size in self.phases(epochs)))
        spans = [max(min(end, done) - start, 0) for start, end in zip(starts, [*starts[1:], done])]
        return sum(span * share / pixels[-1] for span, share in zip(spans, pixels))

    def before_run(self, runner: Runner) -> None:
        """Before a checkpoint is loaded, since schedules are played up to its step then."""
        if isinstance(runner._train_loop, (dict, type(None))):
            return  # validated or tested alone
        if sum(isinstance(hook, ResolutionScheduleHook) for hook in runner.hooks) > 1:
            raise UserError('ResolutionScheduleHook is there twice, in default_hooks and '
                            'custom_hooks: leave one of them out (default_hooks.resolution=None)')
        if not isinstance(runner._train_loop, EpochBasedTrainLoop):
            raise UserError(NEEDS_EPOCHS)
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        crop = _find_crop(runner)
        self._check(model, crop.size)
        crop.follow(self.phases(runner.max_epochs))
        self._add_rates(runner)

    def before_train_epoch(self, runner: Runner) -> None:
        now = self.size_at(runner.epoch, runner.max_epochs)
        if now != self._told:
            high, wide = to_2tuple(now)
            runner.logger.info(f'From epoch {runner.epoch + 1} on: images of {high} x {wide} '
                               'pixels')
        self._told = now

    def before_train(self, runner: Runner) -> None:
        self._begun = runner.iter

    def after_train_iter(self, runner: Runner, batch_idx: int, **_) -> None:
        """The time left, for which MMEngine's timer has just taken all steps to be alike."""
        now, end, hub = runner.iter + 1, runner.max_iters, runner.message_hub
        begun, done, everything = (work_of_steps(runner, step) for step in (self._begun, now, end))
        if now < end and 'eta' in hub.runtime_info:
            spent = hub.get_info('eta') / (end - now) * (now - self._begun)
            hub.update_info('eta', spent / (done - begun) * (everything - done))

    def _check(self, model: nn.Module, usual: Size) -> None:
        last, usual = to_2tuple(self.sizes[-1]), tuple(to_2tuple(usual))
        if last != usual:
            raise UserError(f'ResolutionScheduleHook: the last of sizes {self.sizes} must be that '
                            'of the crop in train_dataloader.dataset.pipeline, '
                            f'{usual[0]} x {usual[1]}')
        (divisor, uncut), built_for = _divisors(model), known_image_size(model.backbone)
        if built_for not in (None, usual):
            raise UserError(f'ResolutionScheduleHook: the last of sizes {self.sizes} must be '
                            f'model.backbone.img_size, {built_for[0]} x {built_for[1]}')
        wrong = [side for size in self.sizes for side in to_2tuple(size) if side % divisor]
        if wrong:
            near = max(divisor, round(wrong[0] / divisor) * divisor)
            way = '' if uncut == divisor else f', or with backbone.cut_windows=True of {uncut}'
            raise UserError(f'ResolutionScheduleHook: images of {wrong[0]} pixels do not divide '
                            f'into the mask units, windows and target cells of the model: sizes '
                            f'must be multiples of {divisor}, such as {near}{way}')
        for size in self.sizes:  # a late one would stop the run after days
            rows, cols = (side // model.mask_unit for side in to_2tuple(size))
            try:
                count_visible(rows * cols, model.mask_ratio)
            except UserError as error:
                raise UserError(f'ResolutionScheduleHook: for images of {size} pixels model.'
                                f'{error}') from None

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
    sampler = getattr(loader.batch_sampler, 'sampler', loader.sampler)
    if not isinstance(sampler, ResumableSampler):
        raise UserError(NEEDS)
    return crop_of(loader.dataset)


def work_of_steps(runner: Runner, steps: int) -> float:
    """What the first so many steps of a run cost, in steps of its last image size."""
    hook = next((one for one in runner.hooks if isinstance(one, ResolutionScheduleHook)), None)
    if hook is None:
        return steps
    each = len(runner.train_dataloader)
    return hook.work(steps / each, runner.max_epochs) * each


def crop_of(dataset: Dataset) -> RandomCropToTensor:
    """The one transform of a data set that makes images of a size.

    Raises:
        UserError: There is none of ours, or there are several.
    """
    transforms = getattr(getattr(dataset, 'pipeline', None), 'transforms', ())
    crops = [transform for transform in transforms if isinstance(transform, RandomCropToTensor)]
    if len(crops) != 1:
        raise UserError(NEEDS)
    return crops[0]


def _listed(name: str, values: Any) -> list:
    """The entries of a field."""
    if isinstance(values, (str, dict)) or not isinstance(values, Iterable):
        raise UserError(f'ResolutionScheduleHook: {name} must be a list, not {values!r}')
    return list(values)


def _is_size(size: Any) -> bool:
    """Whether it is a side in pixels, or height and width."""
    sides = (size, size) if isinstance(size, Integral) else size
    return isinstance(sides, (list, tuple)) and len(sides) == 2 and all(
        isinstance(side, Integral) and side >= 1 for side in sides)


def _divisors(model: nn.Module) -> Tuple[int, int]:
    """Pixels of which the sides of images must be multiples, and would have to be if windows could
    be cut."""
    try:
        encoder, target = model.backbone, model.target_generator
        uncut = lcm(model.mask_unit, *encoder.feature_strides, *target.grid_strides)
        return lcm(uncut, *getattr(encoder, 'window_strides', ())), uncut
    except AttributeError:
        raise UserError('ResolutionScheduleHook needs mmwamim.WaMIM, whose masks, positions and '
                        f'targets follow the images, not {type(model).__name__}') from None
