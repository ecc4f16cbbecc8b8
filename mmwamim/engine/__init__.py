from .hooks import EncoderExportHook, RunSummaryHook
from .layer_decay import LayerDecayOptimWrapperConstructor
from .weights import EncoderArrivedHook

__all__ = ['EncoderArrivedHook', 'EncoderExportHook', 'LayerDecayOptimWrapperConstructor',
           'RunSummaryHook']
