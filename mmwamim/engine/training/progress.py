"""How far a run has got, in images, and where that is in a run whose steps are of another size."""
from dataclasses import asdict, dataclass, replace
from typing import Optional

from mmengine.dist import get_world_size
from mmengine.runner import IterBasedTrainLoop, Runner


@dataclass(frozen=True)
class Layout:
    """What steps and epochs are made of."""
    images: int  # of the data set
    batch: int  # images of a process and step
    processes: int
    steps: int  # of an epoch
    accumulation: int  # steps whose gradients are added up
    counts: str  # 'epochs' or 'steps', whichever gives the length of the run

    @property
    def images_a_step(self) -> int:
        return self.batch * self.processes

    @classmethod
    def of(cls, runner: Runner) -> 'Layout':
        loader = runner.train_dataloader
        counts = 'steps' if isinstance(runner.train_loop, IterBasedTrainLoop) else 'epochs'
        return cls(images=len(loader.dataset), batch=loader.batch_sampler.batch_size,
                   processes=get_world_size(), steps=len(loader),
                   accumulation=getattr(runner.optim_wrapper, '_accumulative_counts', 1),
                   counts=counts)


@dataclass(frozen=True)
class Position:
    """Where a run stands.

    The first ``skipped`` images of the epoch's order (of the whole stream, where steps are
    counted), over all ranks, come before step number ``first`` of the epoch; from there on
    every step takes a batch. Both are 0 but where a step had another size before.
    """
    epoch: int
    iter: int
    skipped: int = 0
    first: int = 0


@dataclass(frozen=True)
class Progress:
    """What a checkpoint keeps about how far the run has got."""
    layout: Layout
    position: Position
    pending: int  # steps since the last update of the weights, whose gradients are not kept

    def to_dict(self) -> dict:
        return dict(**asdict(self.layout), skipped=self.position.skipped,
                    first=self.position.first, pending=self.pending)

    @classmethod
    def of_checkpoint(cls, checkpoint: dict, now: Layout) -> 'Progress':
        """As stored; a checkpoint of before it was is taken to have today's layout, but for the
        number of its steps where that is known."""
        epoch, step = checkpoint['meta']['epoch'], checkpoint['meta']['iter']
        stored = dict(checkpoint.get('progress') or {})
        if stored:
            skipped, first = stored.pop('skipped'), stored.pop('first')
            pending = stored.pop('pending')
            return cls(Layout(**stored), Position(epoch, step, skipped, first), pending)
        steps = checkpoint.get('steps_per_epoch')
        if not steps:  # MMEngine's own, which are written at the end of an epoch
            ended = now.counts == 'epochs' and epoch and step % epoch == 0
            steps = step // epoch if ended else now.steps
        then = now if steps == now.steps else replace(
            now, steps=steps, images=steps * now.images_a_step)
        return cls(then, Position(epoch, step), 0)


def last_update(saved: Progress) -> Position:
    """The position after the last update of the weights: the steps since then are done again,
    with the same images and masks, which gives the gradients that were not kept."""
    position, steps = saved.position, saved.layout.steps
    step = position.iter - saved.pending
    if saved.layout.counts == 'steps' or step >= position.epoch * steps:
        return Position(position.epoch, step, position.skipped, position.first)
    return Position(step // steps, step)


def translate(saved: Progress, now: Layout) -> Position:
    """The same point of the run for steps of today's size.

    With the same images an epoch goes on exactly behind the last image that was seen. With other
    images its order is another one, and it goes on at the same share of it. Where the length of
    the run is given in steps, their number stays.
    """
    position, then = last_update(saved), saved.layout
    if same_steps(then, now):
        return position
    done = position.iter - position.epoch * then.steps if now.counts == 'epochs' else position.iter
    seen = position.skipped + (done - position.first) * then.images_a_step
    if then.images != now.images:
        seen = round(seen * now.images / then.images)
    if now.counts == 'steps':
        return Position(0, position.iter, seen, position.iter)
    first = min(-(-seen // now.images_a_step), now.steps) if done < then.steps else now.steps
    return Position(position.epoch, position.epoch * now.steps + first, seen, first)


def same_steps(then: Layout, now: Layout) -> bool:
    """Whether a step takes the same images in both."""
    return (then.images, then.batch, then.processes, then.steps) == (
        now.images, now.batch, now.processes, now.steps)


def describe(saved: Progress, position: Position, now: Layout) -> Optional[str]:
    """What happens to an epoch that goes on with steps of another size, in words."""
    if same_steps(saved.layout, now):
        return None
    if now.counts == 'steps':
        return (f'step {position.iter} of the run stays step {position.iter}; its stream of images '
                f'goes on behind the first {position.skipped}')
    what = f'epoch {position.epoch + 1} goes on'
    if not position.first:
        return f'epoch {position.epoch + 1} begins, with {now.steps} steps an epoch'
    where = f'at step {position.first} of {now.steps}, behind {position.skipped} images'
    if saved.layout.images == now.images:
        return f'{what} {where} that were seen'
    return f'{what} {where}, the same share of another order: some may come twice or not at all'
