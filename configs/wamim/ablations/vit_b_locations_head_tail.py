"""Table 4(d), ViT-B: head and tail: layers 1, 2, 11, 12.

Reconstructed: the layers.
Published figures of the other three: 82.9, 83.2 and 83.3; which is which is lost.
"""
_base_ = ['../vit_b_100e.py']
model = dict(backbone=dict(out_indices=(0, 1, 10, 11)))
