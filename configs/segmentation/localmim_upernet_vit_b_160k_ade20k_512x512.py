r"""UperNet with ViT-B on ADE20K as LocalMIM's authors did: 160k steps, batch 16 = 8 x 2.

Run:    tools/dist_train.sh configs/segmentation/localmim_upernet_vit_b_160k_ade20k_512x512.py 8 \
            --pretrained work_dirs/localmim_vit_b_100e/encoder.pth
Source: Wang et al., "Masked Image Modeling with Local Multi-Scale Reconstruction", CVPR 2023.
Official code: huawei-noah/Efficient-Computing, LocalMIM/semantic_segmentation: features of layers
2, 4, 10 and 12, without a norm behind the last; a relative position bias from 0 in every layer
beside the positions, and LayerScale from 1, which both are new here; a decoder of width 768; rate
4e-4, layer-wise decay 0.65, windows of 512 px with a stride of 341. What decays is not in it: here
neither norms, biases, positions, tokens nor tables of relative positions do. One user got 48.65;
the author advised to try rates from 1e-4 to 5e-4.
Published, not measured here: 49.5 mIoU.
"""
_base_ = ['./upernet_vit_b_160k_ade20k_512x512.py']
model = dict(
    backbone=dict(
        _delete_=True,
        type='mmpretrain.BEiTViT',  # a ViT with the two parts; names are those of the stock ViT
        arch='base',
        img_size=512,
        patch_size=16,
        out_indices=[1, 3, 9, 11],
        out_type='featmap',
        final_norm=False,
        bias=True,
        use_abs_pos_emb=True,
        use_rel_pos_bias=True,
        layer_scale_init_value=1.,
        drop_path_rate=0.1,
        init_cfg=dict(
            type='Pretrained', checkpoint='work_dirs/localmim_vit_b_100e/encoder.pth',
            prefix='backbone.')),
    decode_head=dict(channels=768))
optim_wrapper = dict(
    paramwise_cfg=dict(layer_decay_rate=0.65, bias_decay_mult=0., flat_decay_mult=0.))
