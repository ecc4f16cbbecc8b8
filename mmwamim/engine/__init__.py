from .hooks import EncoderExportHook, RunSummaryHook
from .layer_decay import LayerDecayOptimWrapperConstructor
from .probe import FeatureProbeHook
from .resume import PreemptionHook, ResumableTrainLoop, ResumeHook
from .weights import EncoderArrivedHook

__all__ = ['EncoderArrivedHook', 'EncoderExportHook', 'FeatureProbeHook',
           'LayerDecayOptimWrapperConstructor', 'PreemptionHook', 'ResumableTrainLoop',
           'ResumeHook', 'RunSummaryHook']
