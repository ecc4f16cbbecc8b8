"""CAE, ViT-B/16, 800 epochs, batch 2048 = 8 x 256, with mmpretrain's components; rate and
schedule are those of its 300-epoch recipe, stretched. Needs BEiT's tokenizer.

Run:    tools/dist_train.sh configs/baselines/cae_vit_b_800e.py 8
Source: Chen et al., "Context Autoencoder for Self-Supervised Representation Learning",
IJCV 2024.
Published, not measured here: 83.6 top-1 after fine-tuning; 1.20 GPU-hours an epoch (A100-40G,
in WaMIM's Table 1).
"""
_base_ = ['beit_vit_b_800e.py']
model = dict(
    _delete_=True,
    type='mmpretrain.CAE',
    backbone=dict(
        type='mmpretrain.CAEPretrainViT',
        arch='b',
        patch_size=16,
        layer_scale_init_value=0.1,
        bias='qv_bias'),
    neck=dict(
        type='mmpretrain.CAENeck',
        embed_dims=768,
        num_heads=12,
        regressor_depth=4,
        decoder_depth=4,
        mlp_ratio=4,
        layer_scale_init_value=0.1),
    head=dict(type='mmpretrain.CAEHead', loss=dict(type='mmpretrain.CAELoss', lambd=2)),
    target_generator=dict(
        type='mmpretrain.DALL-E',
        init_cfg=dict(type='Pretrained', checkpoint='checkpoints/dalle_encoder.pth')),
    base_momentum=0.0)
