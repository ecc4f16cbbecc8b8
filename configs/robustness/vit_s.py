r"""Robustness of ViT-S/16 fine-tuned with vit_s_ft_200e.

Run:    python tools/robustness.py configs/robustness/vit_s.py CHECKPOINT \
            --out work_dirs/robustness/vit_s
"""
_base_ = ['../classification/vit_s_ft_200e.py']
robustness = dict(
    imagenet_a='data/imagenet-a',
    imagenet_r='data/imagenet-r',
    imagenet_sketch='data/imagenet-sketch',
    imagenet_c='data/imagenet-c')
