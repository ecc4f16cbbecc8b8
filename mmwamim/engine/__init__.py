from .compile import CompileHook
from .fast_linear import FastLinearHook
from .hooks import DataWaitHook, EncoderExportHook, RunSummaryHook
from .layer_decay import LayerDecayOptimWrapperConstructor
from .probe import FeatureProbeHook
from .resume import PreemptionHook, ResumableTrainLoop, ResumeHook
from .sharding import ShardedRunner, ShardingHook
from .weights import EncoderArrivedHook

__all__ = ['CompileHook', 'DataWaitHook', 'EncoderArrivedHook', 'EncoderExportHook',
           'FastLinearHook', 'FeatureProbeHook', 'LayerDecayOptimWrapperConstructor',
           'PreemptionHook', 'ResumableTrainLoop', 'ResumeHook', 'RunSummaryHook',
           'ShardedRunner', 'ShardingHook']
