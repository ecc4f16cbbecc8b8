"""Training by MMEngine, room by room.

``config`` settles what is run, ``training`` runs it, ``optim`` updates the weights,
``checkpoints`` keeps them, ``distributed`` shares the work, ``export`` hands the encoder on.
"""
from .checkpoints import AtomicCheckpointHook
from .config.data import DataReportHook
from .distributed.sharding import ShardedRunner, ShardingHook
from .export.arrival import EncoderArrivedHook, EncoderLoadedHook
from .export.hook import EncoderExportHook
from .optim.fused_adamw import FusedAdamW
from .optim.groups import MergedOptimWrapperConstructor, RegroupHook
from .optim.guarded import GuardedOptimWrapper
from .optim.layer_decay import LayerDecayOptimWrapperConstructor
from .training.compile import CompileHook
from .training.cpu import CPUHook
from .training.epoch_loop import ResumableTrainLoop
from .training.iteration_loop import ResumableIterLoop
from .training.live import LiveLineHook
from .training.preemption import PreemptionHook
from .training.probe import FeatureProbeHook
from .training.resolution import ResolutionScheduleHook
from .training.resume import ResumeHook
from .training.summary import RunSummaryHook
from .training.waiting import DataWaitHook
from .training.watch import DeferredInfoHook, GuardedEMAHook

__all__ = [
    'AtomicCheckpointHook', 'CPUHook', 'CompileHook', 'DataReportHook', 'DataWaitHook',
    'DeferredInfoHook', 'EncoderArrivedHook', 'EncoderExportHook', 'EncoderLoadedHook',
    'FeatureProbeHook', 'FusedAdamW', 'GuardedEMAHook', 'GuardedOptimWrapper',
    'LayerDecayOptimWrapperConstructor', 'LiveLineHook', 'MergedOptimWrapperConstructor',
    'PreemptionHook', 'RegroupHook', 'ResolutionScheduleHook', 'ResumableIterLoop',
    'ResumableTrainLoop', 'ResumeHook', 'RunSummaryHook', 'ShardedRunner', 'ShardingHook'
]
