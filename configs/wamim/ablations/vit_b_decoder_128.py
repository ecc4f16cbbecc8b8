"""Table 4(c), ViT-B: decoders of width 128 with 4 heads.

Published, not measured here: 83.2 top-1.
"""
_base_ = ['../vit_b_100e.py']
model = dict(neck=dict(embed_dims=128, num_heads=4))
