"""Table 4(a), ViT-B: mask ratio 0.4.

Published, not measured here: 83.1 top-1.
"""
_base_ = ['../vit_b_100e.py']
model = dict(mask_ratio=0.4)
