"""The CPU's faster linear layers for models that are not our own."""
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmwamim.models.linear import onednn_is_faster, use_fast_linear
from mmwamim.registry import HOOKS


@HOOKS.register_module()
class FastLinearHook(Hook):
    """Gives every model that ``tools/train.py`` trains on the CPU the linear layers that our
    encoders and decoders have: the same results to rounding (:mod:`mmwamim.models.linear`)."""

    def before_train(self, runner: Runner) -> None:
        if onednn_is_faster():
            use_fast_linear(runner.model)
