"""Table 4(a), Swin-B: mask ratio 0.6.

Published, not measured here: 83.8 top-1.
"""
_base_ = ['../swin_b_100e.py']
model = dict(mask_ratio=0.6)
