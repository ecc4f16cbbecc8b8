"""The registries of mmwamim, children of MMEngine's root registries.

``locations`` names the package to import on the first look-up, so that
``type='mmwamim.WaMIM'`` works in any OpenMMLab project without
``custom_imports``: MMEngine imports ``mmwamim.registry`` by the prefix.
"""
from mmwamim.environment import check_environment

check_environment()

from mmengine import registry as root
from mmengine.registry import Registry

SCOPE = 'mmwamim'

MODELS = Registry('model', parent=root.MODELS, scope=SCOPE, locations=['mmwamim.models'])
TRANSFORMS = Registry('transform', parent=root.TRANSFORMS, scope=SCOPE,
                      locations=['mmwamim.datasets'])
DATASETS = Registry('dataset', parent=root.DATASETS, scope=SCOPE, locations=['mmwamim.datasets'])
DATA_SAMPLERS = Registry('data sampler', parent=root.DATA_SAMPLERS, scope=SCOPE,
                         locations=['mmwamim.datasets'])
FUNCTIONS = Registry('function', parent=root.FUNCTIONS, scope=SCOPE,
                     locations=['mmwamim.datasets'])
LOOPS = Registry('loop', parent=root.LOOPS, scope=SCOPE, locations=['mmwamim.engine'])
METRICS = Registry('metric', parent=root.METRICS, scope=SCOPE, locations=['mmwamim.evaluation'])
HOOKS = Registry('hook', parent=root.HOOKS, scope=SCOPE,
                 locations=['mmwamim.engine', 'mmwamim.visualization'])
OPTIM_WRAPPER_CONSTRUCTORS = Registry('optimizer wrapper constructor',
                                      parent=root.OPTIM_WRAPPER_CONSTRUCTORS, scope=SCOPE,
                                      locations=['mmwamim.engine'])
OPTIMIZERS = Registry('optimizer', parent=root.OPTIMIZERS, scope=SCOPE,
                      locations=['mmwamim.engine'])
OPTIM_WRAPPERS = Registry('optimizer wrapper', parent=root.OPTIM_WRAPPERS, scope=SCOPE,
                          locations=['mmwamim.engine'])
WEIGHT_INITIALIZERS = Registry('weight initializer', parent=root.WEIGHT_INITIALIZERS, scope=SCOPE,
                               locations=['mmwamim.weights'])
VISUALIZERS = Registry('visualizer', parent=root.VISUALIZERS, scope=SCOPE,
                       locations=['mmwamim.visualization'])
VISBACKENDS = Registry('vis_backend', parent=root.VISBACKENDS, scope=SCOPE,
                       locations=['mmwamim.visualization'])
