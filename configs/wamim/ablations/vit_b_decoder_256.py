"""Table 4(c), ViT-B: decoders of width 256 with 8 heads.

Published, not measured here: 83.4 top-1.
"""
_base_ = ['../vit_b_100e.py']
model = dict(neck=dict(embed_dims=256, num_heads=8))
