"""What a run leaves at its end: the encoder alone, and what to do next."""
from io import BytesIO
from pathlib import Path
from typing import Dict, List

import torch
from mmengine.dist import is_main_process
from mmengine.hooks import EMAHook, Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch import Tensor

from mmwamim.interface.command_line import command_line
from mmwamim.registry import HOOKS

from ..checkpoints import write_atomically
from ..distributed.sharding import gather
from ..training.running_state import evaluated_model

PREFIX = 'backbone.'


def encoder_state(model: torch.nn.Module) -> Dict[str, Tensor]:
    """The encoder's part of a model's state dict, on the CPU, keys with prefix ``backbone.``.

    Every process must call it: the weights may be shared out among them.
    """
    model = model.module if is_model_wrapper(model) else model
    return gather({name: value for name, value in model.state_dict().items()
                   if name.startswith(PREFIX)})


@HOOKS.register_module()
class EncoderExportHook(Hook):
    """Writes the encoder alone as ``encoder.pth`` when training ends, and says what to do next.

    The file holds ``state_dict`` with keys ``backbone.*``, so ``prefix='backbone.'`` reads it and
    the full checkpoints alike, and ``meta`` with the config that made it. Where ``EMAHook``
    averages the weights these are the averaged ones, as in the full checkpoints.

    Args:
        filename: Name of the file in the work directory.

    Examples:
        >>> custom_hooks = [dict(type='mmwamim.EncoderExportHook')]  # in a config
    """

    priority = 'VERY_LOW'  # after the last full checkpoint

    def __init__(self, filename: str = 'encoder.pth') -> None:
        self.filename = filename

    def after_train(self, runner: Runner) -> None:
        averaged = any(isinstance(hook, EMAHook) for hook in runner.hooks)
        state = encoder_state(evaluated_model(runner))
        if not is_main_process():
            return
        path = Path(runner.work_dir) / self.filename
        meta = dict(config=runner.cfg.pretty_text, epoch=runner.epoch, iter=runner.iter,
                    averaged=averaged)
        data = BytesIO()
        torch.save(dict(meta=meta, state_dict=state), data)
        write_atomically(data.getbuffer(), path)
        runner.logger.info('\n'.join([
            f'The encoder alone is in {path}'
            + (', with the averaged weights, as in the checkpoints' if averaged else '')
            + '. Next:', *next_steps(runner, path)]))


def next_steps(runner: Runner, encoder: Path) -> List[str]:
    """Lines that can be pasted into a shell or a config, whatever is in the paths."""
    checkpoint = runner.message_hub.get_info('last_ckpt') or 'CHECKPOINT'
    return [
        '  look at losses and reconstructions',
        f'    {command_line("show", runner.work_dir)}',
        '  reconstruct other images',
        f'    {command_line("show", checkpoint, "--images")} IMAGES',
        '  use it as the backbone of any mmpretrain, mmdet or mmseg config',
        f"    init_cfg=dict(type='Pretrained', checkpoint={str(encoder)!r}, prefix={PREFIX!r})",
    ]
