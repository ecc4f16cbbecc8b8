r"""Robustness of ViT-B/16 fine-tuned with vit_b_ft_100e.

Run:    python tools/robustness.py configs/robustness/vit_b.py CHECKPOINT \
            --out work_dirs/robustness/vit_b
"""
_base_ = ['../classification/vit_b_ft_100e.py']
robustness = dict(
    imagenet_a='data/imagenet-a',
    imagenet_r='data/imagenet-r',
    imagenet_sketch='data/imagenet-sketch',
    imagenet_c='data/imagenet-c')
