"""The loop of runs whose length is given in steps."""
from typing import Any

from mmengine.dist import get_rank
from mmengine.runner import IterBasedTrainLoop, Runner
from torch import nn

from mmwamim.datasets.sampling import ResumableSampler, ResumableStream, seed_everything
from mmwamim.errors import UserError
from mmwamim.registry import LOOPS

from .batches import build_loader, explained
from .progress import Position


@LOOPS.register_module()
class ResumableIterLoop(IterBasedTrainLoop):
    """MMEngine's loop over steps, which goes on at the image and with the random numbers at which
    it was left.

    Args:
        **loop: Fields of ``IterBasedTrainLoop``.

    Raises:
        UserError: The sampler has an end.
    """

    start = Position(0, 0)
    validated = 0  # the step of the last validation

    def __init__(self, runner: Runner, dataloader, max_iters: int, **loop) -> None:
        super().__init__(runner, build_loader(runner, dataloader), max_iters, **loop)
        sampler = self.dataloader.batch_sampler.sampler
        if isinstance(sampler, ResumableSampler) and not isinstance(sampler, ResumableStream):
            raise UserError('train_dataloader.sampler: a run that counts steps takes its images '
                            "from dict(type='mmwamim.ResumableStream')")

    def run(self) -> nn.Module:
        with explained():
            self.runner.call_hook('before_train')
            self.runner.call_hook('before_train_epoch')  # all steps are one epoch, as in MMEngine
            self._begin()
            while self._iter < self._max_iters and not self.stop_training:
                self.runner.model.train()
                self.run_iter(next(self.dataloader_iterator))
                self._decide_current_val_interval()
                if self._is_due():
                    self.runner.val_loop.run()
            self.runner.call_hook('after_train_epoch')
            self.runner.call_hook('after_train')
        return self.runner.model

    def run_iter(self, data_batch: Any) -> None:
        seed_everything(self.runner.seed, self._iter, get_rank())
        super().run_iter(data_batch)

    def _begin(self) -> None:
        if not self._iter:
            return
        sampler = self.dataloader.batch_sampler.sampler
        if isinstance(sampler, ResumableStream):
            images = self.dataloader.batch_sampler.batch_size * sampler.world_size
            sampler.skip(self.start.skipped + (self._iter - self.start.first) * images)
        else:
            self.dataloader_iterator.skip_iter(self._iter)
        if self._is_due() and self.validated != self._iter:
            self.runner.logger.info(f'Validating after step {self._iter}: the checkpoint was '
                                    'written before')
            self.runner.val_loop.run()

    def _is_due(self) -> bool:
        return self.runner.val_loop is not None and self._iter >= self.val_begin and (
            self._iter % self.val_interval == 0 or self._iter == self._max_iters)
