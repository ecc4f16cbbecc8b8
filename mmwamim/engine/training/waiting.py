"""What a run says while it waits for data."""
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmwamim.registry import HOOKS


@HOOKS.register_module()
class DataWaitHook(Hook):
    """Warns once if the steps wait for data.

    Args:
        share: Of a step's time, from 0 to 1, that may be spent waiting.
        interval: Steps over which it is averaged.
    """

    def __init__(self, share: float = 0.2, interval: int = 50) -> None:
        self.share, self.interval, self.warned = share, interval, False
        self.waited, self.spent = 0., 0.

    def after_train_iter(self, runner: Runner, batch_idx: int, **_) -> None:
        scalars = runner.message_hub.log_scalars
        # At first the workers have just started; a config may have no timer.
        if batch_idx == 0 or 'train/data_time' not in scalars:
            return
        self.waited += scalars['train/data_time'].current()
        self.spent += scalars['train/time'].current()
        if not self.every_n_train_iters(runner, self.interval):
            return
        share = self.waited / max(self.spent, 1e-9)
        self.waited, self.spent = 0., 0.
        if share > self.share and not self.warned:
            self.warned = True
            runner.logger.warning(
                f'{share:.0%} of the last {self.interval} steps was spent waiting for data: raise '
                f'train_dataloader.num_workers (now {runner.train_dataloader.num_workers}), up to '
                'the number of cores for each process, or put the images on a faster disk')
