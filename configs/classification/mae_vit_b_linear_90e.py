r"""Linear probing of ViT-B/16 on ImageNet-1K as MAE's authors did: class token, 90 epochs, batch
16384 = 8 x 2048.

Run:    tools/dist_train.sh configs/classification/mae_vit_b_linear_90e.py 8 \
            --pretrained work_dirs/mae_vit_b_1600e/encoder.pth
Source: He et al., "Masked Autoencoders Are Scalable Vision Learners", CVPR 2022.
Official code: facebookresearch/mae, FINETUNE.md and main_linprobe.py: the class token behind the
final norm, batch norm without scale and shift, LARS with a base rate of 0.1. Different here: the
momentum of mmpretrain's LARS holds steps, theirs gradients, which differs while the rate changes.
Published, not measured here: 67.8 top-1 after pre-training with mae_vit_b_1600e (68.0 in
the paper).
"""
_base_ = ['./vit_b_linear_90e.py']
model = dict(backbone=dict(out_type='cls_token', final_norm=True))
train_dataloader = dict(dataset=dict(pipeline=[
    dict(type='mmwamim.LoadImage'),
    dict(type='mmpretrain.ToPIL', to_rgb=True),
    dict(type='mmpretrain.MAERandomResizedCrop', size=224, interpolation=3),  # bicubic
    dict(type='mmpretrain.ToNumpy', to_bgr=True),
    dict(type='mmpretrain.RandomFlip', prob=0.5),
    dict(type='mmpretrain.PackInputs'),
]))
