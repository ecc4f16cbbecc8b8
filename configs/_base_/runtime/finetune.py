_base_ = ['./default.py']
custom_hooks = [dict(type='mmwamim.EncoderArrivedHook'), dict(type='mmwamim.RunSummaryHook')]
default_hooks = dict(checkpoint=dict(save_best='auto'))
