"""A hook that makes steps slow, so that signals find a small run in the middle, on any machine."""
import time

from mmengine.hooks import Hook


class Slow(Hook):
    """Sleeps after every step."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def after_train_iter(self, runner, **_) -> None:
        time.sleep(self.seconds)
