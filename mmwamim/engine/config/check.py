"""Finds misspelt fields of a config before anything is built."""
import difflib
import inspect
from typing import Iterator, Optional, Set, Tuple

from mmengine import registry as root
from mmengine.config import Config
from mmengine.registry import DefaultScope

from mmwamim.environment import missing_toolbox
from mmwamim.errors import UserError

from .values import check_fields, check_values

# Where the parts of a config are registered, tried in this order.
REGISTRIES = (root.MODELS, root.DATASETS, root.TRANSFORMS, root.HOOKS, root.DATA_SAMPLERS,
              root.LOOPS, root.OPTIM_WRAPPERS, root.OPTIMIZERS, root.PARAM_SCHEDULERS,
              root.METRICS, root.VISUALIZERS, root.VISBACKENDS, root.OPTIM_WRAPPER_CONSTRUCTORS,
              root.FUNCTIONS, root.WEIGHT_INITIALIZERS)
# Fields that a builder takes out before the class sees them.
BUILDERS = {'type', '_scope_', '_delete_', 'convert_to_iter_based', 'constructor',
            'paramwise_cfg', 'init_cfg', 'use_fsdp'}
SECTIONS = ('model', 'data_preprocessor', 'train_dataloader', 'val_dataloader', 'test_dataloader',
            'train_cfg', 'optim_wrapper', 'param_scheduler', 'custom_hooks', 'default_hooks',
            'visualizer', 'val_evaluator', 'test_evaluator')
TRAINING = ('model', 'train_dataloader', 'train_cfg', 'optim_wrapper')
ANNOTATED = ('mmwamim.', 'mmengine.', 'torch.optim.')
LOADER = {'batch_size', 'num_workers', 'persistent_workers', 'pin_memory', 'drop_last', 'sampler',
          'batch_sampler', 'collate_fn', 'dataset', 'prefetch_factor', 'timeout',
          'num_batch_per_epoch', 'worker_init_fn', 'multiprocessing_context'}


def check_config(cfg: Config) -> None:
    """Checks the names of all fields that go to a class of this package, and of data loaders; and
    values, by the annotations of this package, MMEngine and torch's optimizers.

    Parts of other packages check their own.

    Raises:
        UserError: A field or a type does not exist; the message gives its place in the config
            and the nearest right spelling. Or a value is of the wrong kind, or the toolbox that
            the config is for is missing.
    """
    check_values(cfg)
    _check_toolbox('default_scope', cfg.get('default_scope'))
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope') or 'mmpretrain'):
        for section in SECTIONS:
            if not cfg.get(section):
                continue
            if section.endswith('_dataloader'):
                _check_names(section, cfg[section], LOADER, 'a data loader')
            for place, part in typed(section, cfg[section]):
                _check_part(place, part)


def check_trains(cfg: Config) -> None:
    """Checks that a config has what every training needs.

    Raises:
        UserError: A section is missing or None; MMEngine would say nothing, or list whole sections.
    """
    for name in TRAINING:
        if not cfg.get(name):
            raise UserError(f'{name}: training needs it, and {cfg.filename or "the config"} has '
                            'none (or it was set to None)')
    if not cfg.model.get('type'):
        raise UserError('model.type: it must say which model is trained, such as '
                        f"'mmwamim.WaMIM', and {cfg.filename or 'the config'} does not")


def typed(place: str, value) -> Iterator[Tuple[str, dict]]:
    """Every dict with a type below a place of the config."""
    if isinstance(value, dict):
        if isinstance(value.get('type'), str) or callable(value.get('type')):
            yield place, value
        for name, below in value.items():
            yield from typed(f'{place}.{name}', below)
    elif isinstance(value, (list, tuple)):
        for index, below in enumerate(value):
            yield from typed(f'{place}.{index}', below)


def _check_toolbox(place: str, scope: Optional[str]) -> None:
    missing = missing_toolbox(scope)
    if missing:
        raise UserError(f'{place}: {missing}')


def _check_part(place: str, part: dict) -> None:
    kind = part['type']  # a name, or in pure Python configs the class itself
    if isinstance(kind, str):
        _check_toolbox(f'{place}.type', kind.rpartition('.')[0])
    cls = _find(kind) if isinstance(kind, str) else kind
    if cls is None:
        if part['type'].startswith('mmwamim.'):
            names = [f'mmwamim.{name}' for registry in REGISTRIES
                     for child in (registry.children.get('mmwamim'), ) if child
                     for name in child.module_dict]
            near = _nearest(part['type'], names)
            raise UserError(f'{place}.type: there is no {part["type"]!r}{near}')
        if place == 'optim_wrapper.optimizer' and not _is_optimizer(kind):
            # Its builder would say that None cannot be called.
            raise UserError(f'{place}.type: there is no optimizer {kind!r}'
                            f'{_nearest(kind, sorted(root.OPTIMIZERS.module_dict), 4)}')
    owner = getattr(cls, '__module__', '')
    if owner.startswith(ANNOTATED):
        check_fields(place, {name: value for name, value in part.items() if name not in BUILDERS},
                     cls)
    if not owner.startswith('mmwamim.'):
        return  # its own builder will tell
    fields = accepted_fields(cls)
    if fields is not None:
        _check_names(place, part, fields | BUILDERS, cls.__name__)


def _is_optimizer(name: str) -> bool:
    with root.OPTIMIZERS.switch_scope_and_registry(None) as scoped:  # of the config's toolbox
        return scoped.get(name) is not None


def _check_names(place: str, part: dict, allowed: Set[str], owner: str) -> None:
    for name in part:
        if name not in allowed:
            raise UserError(f'{place}.{name}: {owner} has no such field'
                             f'{_nearest(name, sorted(allowed))}')


def _nearest(name: str, allowed, most: Optional[int] = None) -> str:
    near = difflib.get_close_matches(name, list(allowed), n=1)
    more = ', ...' if most and len(allowed) > most else ''
    return f'; did you mean {near[0]!r}?' if near \
        else f'; there are {", ".join(list(allowed)[:most])}{more}'


def _find(name: str) -> Optional[type]:
    for registry in REGISTRIES:
        try:
            found = registry.get(name)
        except (KeyError, ImportError):
            continue
        if found is not None:
            return found
    return None


def accepted_fields(cls: type) -> Optional[Set[str]]:
    """The names that a class's constructor takes, following ``**fields`` to its parents; None if
    even the last of them takes anything, or if it is no class."""
    if not inspect.isclass(cls):
        return None
    fields: Set[str] = set()
    for owner in cls.__mro__:
        if '__init__' not in vars(owner) or owner is object:
            continue
        parameters = inspect.signature(owner.__init__).parameters.values()
        fields |= {p.name for p in parameters if p.kind in (
            p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)} - {'self'}
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            return fields
    return None
