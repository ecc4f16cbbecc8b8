"""The coarsest level alone carries its mean colour, in the paper's recipe."""
_base_ = ['../wamim.py']
model = dict(target_generator=dict(approximation='coarsest'))
