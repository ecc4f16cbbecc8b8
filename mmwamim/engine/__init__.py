from .hooks import EncoderExportHook, RunSummaryHook
from .layer_decay import LayerDecayOptimWrapperConstructor
from .probe import FeatureProbeHook
from .weights import EncoderArrivedHook

__all__ = ['EncoderArrivedHook', 'EncoderExportHook', 'FeatureProbeHook',
           'LayerDecayOptimWrapperConstructor', 'RunSummaryHook']
