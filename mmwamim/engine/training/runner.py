"""The runner of tools/train.py."""
import secrets
from pathlib import Path
from typing import Dict, Optional, Union

from mmengine.config import Config
from mmengine.dist import is_main_process
from mmengine.logging import MMLogger
from mmengine.model import is_model_wrapper
from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.runner import Runner
from mmengine.visualization import Visualizer
from torch import nn
from torch.utils.data import DataLoader

from mmwamim.errors import UserError

from ..config.loggers import start_loggers
from ..config.reading import type_name
from .terminal import shorten

STOCK_HOOKS = ('runtime_info', 'timer', 'sampler_seed', 'logger', 'param_scheduler', 'checkpoint')
FROM_FILES = ('Pretrained', 'PretrainedInit', 'PretrainedFrom')


class FormattedOnce(Config):
    """A config whose text is formatted once as long as nothing in it changes.

    MMEngine formats it anew for the log, each writer, its file and every checkpoint, which takes
    seconds each time for the class names of a data set; and in every process of a run, of which
    the first alone writes anything.
    """
    _texts: Dict[str, str] = {}

    @classmethod
    def of(cls, cfg: Config) -> 'FormattedOnce':
        """A view of the same fields."""
        view = cls.__new__(cls)
        view.__setstate__(cfg.__getstate__())
        if not is_main_process():
            object.__setattr__(view, '_format_python_code', False)
        return view

    @property
    def pretty_text(self) -> str:
        key = repr((self._format_python_code, self.to_dict()))
        if key not in self._texts:
            while len(self._texts) >= 4:  # of few runs at a time
                del self._texts[next(iter(self._texts))]
            self._texts[key] = super().pretty_text
        return self._texts[key]


class TrainingRunner(Runner):
    """MMEngine's Runner, whose learning rates follow the images of an update.

    Every run has a name of its own: MMEngine keeps logs and histories by it, and names runs of a
    process that start within a second alike. With ``terminal='short'`` in the config the terminal
    gets what a user looks for; the log file has everything.
    """

    def __init__(self, *args, experiment_name: Optional[str] = None, **fields) -> None:
        if experiment_name is None:
            file = getattr(fields.get('cfg'), 'filename', None)
            experiment_name = f'{Path(file).stem if file else "run"}_{secrets.token_hex(3)}'
        if isinstance(fields.get('cfg'), Config):
            fields['cfg'] = FormattedOnce.of(fields['cfg'])
        super().__init__(*args, experiment_name=experiment_name, **fields)

    def build_logger(self, *args, **fields) -> MMLogger:
        logger = super().build_logger(*args, **fields)
        if self.cfg.get('terminal') == 'short':
            shorten(logger)
        return logger

    def register_default_hooks(self, hooks: Optional[dict] = None) -> None:
        """As MMEngine's, where None leaves out its own hooks alone: here also those of a config
        (``default_hooks.resolution=None``)."""
        super().register_default_hooks({name: hook for name, hook in (hooks or {}).items()
                                        if hook is not None or name in STOCK_HOOKS})

    def build_visualizer(self, visualizer: Union[Visualizer, dict, None] = None) -> Visualizer:
        built = super().build_visualizer(visualizer)
        if is_main_process():
            start_loggers(built)
        return built

    def _init_model_weights(self) -> None:
        """As MMEngine's. A run that is resumed has its weights from its checkpoint, and needs none
        of the files that it began with, which may be gone."""
        model = self.model.module if is_model_wrapper(self.model) else self.model
        if self._resume:
            _leave_files(model)
        super()._init_model_weights()

    def scale_lr(self, optim_wrapper: OptimWrapper, auto_scale_lr: Optional[dict] = None) -> None:
        """Multiplies every learning rate by the images of an update / ``base_batch_size``.

        These are batch x processes x accumulated steps. MMEngine forgets the last factor, and the
        rate that is logged as ``base_lr``.

        Args:
            optim_wrapper: Built, without schedulers yet.
            auto_scale_lr: ``dict(enable=True, base_batch_size=N)``, or nothing.

        Raises:
            UserError: ``base_batch_size`` is missing or not positive.
        """
        if not (auto_scale_lr or {}).get('enable', False):
            return
        base = auto_scale_lr.get('base_batch_size')
        if not isinstance(base, (int, float)) or base <= 0:
            raise UserError('auto_scale_lr.base_batch_size must be the batch that the learning '
                            f'rate is given for, not {base!r}')
        loader = self._train_dataloader
        batch = loader.batch_size if isinstance(loader, DataLoader) else loader['batch_size']
        wrappers = list(optim_wrapper.values()) if isinstance(optim_wrapper, OptimWrapperDict) \
            else [optim_wrapper]
        for wrapper in wrappers:
            images = batch * self.world_size * wrapper._accumulative_counts
            self.logger.info(f'Learning rates are given for {base} images an update, which has '
                             f'{images}: multiplied by {images / base:.4g}')
            for settings in (*wrapper.optimizer.param_groups, wrapper.base_param_settings or {}):
                if 'lr' in settings:
                    settings['lr'] *= images / base


def _leave_files(model: nn.Module) -> None:
    """Takes initialisation from files out of all parts whose parameters a checkpoint holds."""
    known = set(model.state_dict())
    for prefix, module in model.named_modules():
        steps = getattr(module, 'init_cfg', None)
        names = (f'{prefix}.{name}' if prefix else name for name, _ in module.named_parameters())
        if steps and all(name in known for name in names):
            steps = [steps] if isinstance(steps, dict) else steps
            kept = [step for step in steps if type_name(step) not in FROM_FILES]
            if len(kept) < len(steps):
                module.init_cfg = kept or None
