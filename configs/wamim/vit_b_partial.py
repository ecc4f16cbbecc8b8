"""WaMIM, ViT-B/16, 100 epochs, batch 2048 = 8 x 256, partial decoding: docs/fast.md.

Each level decodes a quarter of its masked cells.

Run:    tools/dist_train.sh configs/wamim/vit_b_partial.py 8
Not published by the paper; accuracy on ImageNet is not measured.
"""
_base_ = ['vit_b_100e.py']
model = dict(decode_ratio=0.25)
