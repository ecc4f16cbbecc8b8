from .hooks import EncoderExportHook, RunSummaryHook

__all__ = ['EncoderExportHook', 'RunSummaryHook']
