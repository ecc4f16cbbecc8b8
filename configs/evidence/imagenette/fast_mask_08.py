"""The fast recipe with four fifths of the patches masked instead of three quarters."""
_base_ = ['fast.py']
model = dict(mask_ratio=0.8)
