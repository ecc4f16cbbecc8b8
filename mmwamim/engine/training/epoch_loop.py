"""The loop of runs whose length is given in epochs, which can be killed at any moment and go on
as if they had not been."""
from typing import Any, Sequence

from mmengine.dist import get_rank
from mmengine.runner import EpochBasedTrainLoop, Runner
from torch import nn

from mmwamim.datasets.sampling import seed_everything
from mmwamim.registry import LOOPS

from .batches import batches_from, build_loader, explained
from .progress import Position


@LOOPS.register_module()
class ResumableTrainLoop(EpochBasedTrainLoop):
    """MMEngine's loop over epochs, which can go on in the middle of one.

    A step whose loss or gradient is not finite changes no weight (``GuardedOptimWrapper``). Such
    steps are skipped as long as there are no more than ``max_bad_steps`` of them in a run; when
    there are more, the next check of ``DeferredInfoHook`` stops it, on all ranks, with a
    message that names the steps, the levels, the learning rate, the files of the batches and the
    last good checkpoint.

    Before each step torch is seeded with the run's seed, the step and the rank, so masks,
    dropout and drop path do not depend on what was drawn before.

    Args:
        runner: Of MMEngine, which fills it in.
        dataloader: A loader, or its config (``train_dataloader``).
        max_epochs: Length of the run.
        max_bad_steps: Steps that may be skipped.
        **loop: Fields of ``EpochBasedTrainLoop``.

    Examples:
        >>> train_cfg = dict(  # in a config
        ...     type='mmwamim.ResumableTrainLoop', max_epochs=100, max_bad_steps=10)
    """

    start = Position(0, 0)
    validated = 0  # the last epoch whose validation is done

    def __init__(self, runner: Runner, dataloader: Any, max_epochs: int, max_bad_steps: int = 0,
                 **loop: Any) -> None:
        super().__init__(runner, build_loader(runner, dataloader), max_epochs, **loop)
        self.max_bad_steps = max_bad_steps

    def run(self) -> nn.Module:
        with explained():
            self.runner.call_hook('before_train')
            if self._iter == self._epoch * len(self.dataloader) and self._is_due() \
                    and self.validated != self._epoch:
                self.runner.logger.info(f'Validating after epoch {self._epoch}: the checkpoint was '
                                        'written before')
                self.runner.val_loop.run()
            while self._epoch < self._max_epochs and not self.stop_training:
                self.run_epoch()
                self._decide_current_val_interval()
                if self._is_due():
                    self.runner.val_loop.run()
            self.runner.call_hook('after_train')
        return self.runner.model

    def run_epoch(self) -> None:
        self.runner.call_hook('before_train_epoch')
        self.runner.model.train()
        done = self._iter - self._epoch * len(self.dataloader)
        if self.start.epoch != self._epoch:
            self.start = Position(self._epoch, self._iter)
        for index, batch in enumerate(batches_from(self.dataloader, self.start, done), start=done):
            self.run_iter(index, batch)
        self.runner.call_hook('after_train_epoch')
        self._epoch += 1

    def _is_due(self) -> bool:
        """Whether a validation follows the epochs that are done."""
        return self.runner.val_loop is not None and self._epoch >= max(self.val_begin, 1) and (
            self._epoch % self.val_interval == 0 or self._epoch == self._max_epochs)

    def run_iter(self, idx: int, data_batch: Sequence[dict]) -> None:
        seed_everything(self.runner.seed, self._iter, get_rank())
        super().run_iter(idx, data_batch)
