"""Table 4(c), Swin-B: decoders of width 256 with 8 heads.

Published, not measured here: 83.9 top-1.
"""
_base_ = ['../swin_b_100e.py']
model = dict(neck=dict(embed_dims=256, num_heads=8))
