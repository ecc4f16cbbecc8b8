"""Details alone."""
_base_ = ['../wamim.py']
model = dict(target_generator=dict(approximation='none'))
