from .checkpoints import AtomicCheckpointHook
from .compile import CompileHook
from .cpu import CPUHook
from .data import DataReportHook
from .fused_adamw import FusedAdamW
from .guarded import GuardedOptimWrapper
from .hooks import DataWaitHook, EncoderExportHook, RunSummaryHook
from .layer_decay import LayerDecayOptimWrapperConstructor
from .optimizer_groups import MergedOptimWrapperConstructor, RegroupHook
from .probe import FeatureProbeHook
from .resume import ResumableTrainLoop
from .sharding import ShardedRunner, ShardingHook
from .training import PreemptionHook, ResumableIterLoop, ResumeHook
from .watch import DeferredInfoHook, GuardedEMAHook
from .weights import EncoderArrivedHook

__all__ = [
    'AtomicCheckpointHook', 'CPUHook', 'CompileHook', 'DataReportHook', 'DataWaitHook',
    'DeferredInfoHook', 'EncoderArrivedHook', 'EncoderExportHook', 'FeatureProbeHook',
    'FusedAdamW', 'GuardedEMAHook', 'GuardedOptimWrapper', 'LayerDecayOptimWrapperConstructor',
    'MergedOptimWrapperConstructor', 'PreemptionHook', 'RegroupHook', 'ResumableIterLoop',
    'ResumableTrainLoop', 'ResumeHook', 'RunSummaryHook', 'ShardedRunner', 'ShardingHook'
]
