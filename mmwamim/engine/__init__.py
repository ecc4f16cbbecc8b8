from .compile import CompileHook
from .cpu import CPUHook
from .data import DataReportHook
from .hooks import DataWaitHook, EncoderExportHook, RunSummaryHook
from .layer_decay import LayerDecayOptimWrapperConstructor
from .probe import FeatureProbeHook
from .resume import PreemptionHook, ResumableTrainLoop, ResumeHook
from .sharding import ShardedRunner, ShardingHook
from .weights import EncoderArrivedHook

__all__ = ['CPUHook', 'CompileHook', 'DataReportHook', 'DataWaitHook', 'EncoderArrivedHook',
           'EncoderExportHook', 'FeatureProbeHook', 'LayerDecayOptimWrapperConstructor',
           'PreemptionHook', 'ResumableTrainLoop', 'ResumeHook', 'RunSummaryHook',
           'ShardedRunner', 'ShardingHook']
