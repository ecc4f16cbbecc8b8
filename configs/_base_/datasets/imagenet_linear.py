# As for fine-tuning, with crops and flips alone, as linear probing has it.
_base_ = ['./imagenet_finetune.py']
train_dataloader = dict(
    batch_size=2048,  # for each of 8 processes: 16384
    dataset=dict(pipeline=[
        dict(type='mmwamim.LoadImage'),
        dict(
            type='mmpretrain.RandomResizedCrop',
            scale=224,
            backend='pillow',
            interpolation='bicubic'),
        dict(type='mmpretrain.RandomFlip', prob=0.5),
        dict(type='mmpretrain.PackInputs'),
    ]))
