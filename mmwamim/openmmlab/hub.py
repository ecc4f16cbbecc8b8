"""``mmpretrain.get_model`` and ``mmpretrain.list_models`` know the models of this package.

mmpretrain keeps a list of models, which it reads from its index when it is first asked. Ours join
it then: neither ``import mmwamim`` nor ``import mmpretrain`` reads a file for it.
"""
from functools import wraps
from types import ModuleType
from typing import List

from .late import after_import

HUB = 'mmpretrain.apis.model'
UNPUBLISHED = 'unpublished://'  # what stands for weights that cannot be had


def join_model_hub() -> None:
    """Has mmpretrain, once it is imported, list our models."""
    after_import(HUB, _join)


def _join(module: ModuleType) -> None:
    hub = module.ModelHub
    own = vars(hub).get('_register_mmpretrain_models')
    if own is None:  # a version that reads its index at another moment
        register_models(hub)
        return
    if hasattr(own.__func__, 'with_mmwamim'):
        return

    @wraps(own.__func__)
    def both(cls) -> None:
        own.__func__(cls)
        if not both.names or not all(map(cls.has, both.names)):
            both.names = register_models(cls)

    both.with_mmwamim, both.names = True, ()
    hub._register_mmpretrain_models = classmethod(both)


def register_models(hub: type) -> List[str]:
    """Adds the models of model-index.yml to mmpretrain's list; those of it that are there stay.

    Args:
        hub: ``mmpretrain.apis.ModelHub``.

    Returns:
        Their names.
    """
    from mmengine.runner import CheckpointLoader
    from modelindex.load_model_index import load  # which mmpretrain has imported

    from mmwamim.commands.architectures import configs_folder
    root = configs_folder().parent
    names = [model.name for model in load(str(root / 'model-index.yml')).models]
    known = hub._models_dict
    there = {name: known.pop(name) for name in names if hub.has(name)}  # or it would refuse them
    hub.register_model_index(root / 'model-index.yml', config_prefix=root)
    known.update(there)
    for name in names:
        if known[name].weights is None:
            known[name].weights = UNPUBLISHED + name
    CheckpointLoader.register_scheme(prefixes=UNPUBLISHED, loader=_no_weights, force=True)
    return names


def _no_weights(filename: str, map_location=None) -> dict:
    """A loader of MMEngine for ``get_model(name, pretrained=True)``, where mmpretrain alone would
    warn of something that it did not find, and go on with random weights.

    Raises:
        UserError: Always: nobody has published weights.
    """
    from mmwamim.errors import UserError
    name = filename.removeprefix(UNPUBLISHED)
    raise UserError(f'no weights of {name!r} are published: give a file of your own, '
                    f"get_model({name!r}, pretrained='encoder.pth'), as mmwamim pretrain FOLDER "
                    'writes it')
