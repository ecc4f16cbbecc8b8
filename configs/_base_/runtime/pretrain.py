_base_ = ['./default.py']
custom_hooks = [dict(type='mmwamim.RunSummaryHook'), dict(type='mmwamim.EncoderExportHook')]
