r"""Robustness of Swin-B fine-tuned with swin_b_ft_100e.

Run:    python tools/robustness.py configs/robustness/swin_b.py CHECKPOINT \
            --out work_dirs/robustness/swin_b
"""
_base_ = ['../classification/swin_b_ft_100e.py']
robustness = dict(
    imagenet_a='data/imagenet-a',
    imagenet_r='data/imagenet-r',
    imagenet_sketch='data/imagenet-sketch',
    imagenet_c='data/imagenet-c')
