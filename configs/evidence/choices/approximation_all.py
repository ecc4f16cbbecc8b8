"""Every level carries its approximation."""
_base_ = ['../wamim.py']
model = dict(target_generator=dict(approximation='all'))
