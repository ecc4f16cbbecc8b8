"""Table 4(c), Swin-B: decoders of width 128 with 4 heads.

Published, not measured here: 83.9 top-1.
"""
_base_ = ['../swin_b_100e.py']
model = dict(neck=dict(embed_dims=128, num_heads=4))
