"""k-NN accuracy, effective rank and linear accuracy of a frozen pre-trained encoder.

    python tools/knn.py configs/wamim/vit_b_400e.py work_dirs/vit_b_400e/encoder.pth --data FOLDER

FOLDER holds train/<class>/* and val/<class>/* (or validation/, test/ and the like; others are
named with --train and --val). The classes are those of the training split. `--linear` fits logistic
regression as well; ImageNet's usual linear probing is in configs/classification. `--every-level`
does the same with each level of features that the encoder returns (its `out_indices`) and with
all of them side by side.
"""
import argparse
import json
import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from mmengine.registry import MODELS, init_default_scope

from mmwamim.datasets.splits import settle_split
from mmwamim.engine.config.reading import read_config
from mmwamim.engine.export.arrival import check_encoder, read_encoder
from mmwamim.errors import told_in_one_line
from mmwamim.evaluation.features import (
    LabelledImages,
    default_workers,
    effective_rank,
    extract_levels,
    image_side,
    knn_accuracy,
    linear_accuracy,
)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='k-NN accuracy of a pre-trained encoder')
    parser.add_argument('config', help='config of the pre-training run')
    parser.add_argument('checkpoint', help='encoder.pth or epoch_N.pth')
    parser.add_argument('--data', required=True, metavar='FOLDER',
                        help='holds train/<class>/* and val/<class>/*')
    parser.add_argument('--train', default='train', metavar='NAME', help='the split to learn from')
    parser.add_argument('--val', default='val', metavar='NAME', help='the split to classify')
    parser.add_argument('--k', type=int, nargs='+', default=[10, 20], help='neighbours')
    parser.add_argument('--linear', action='store_true', help='fit logistic regression as well')
    parser.add_argument('--every-level', action='store_true',
                        help='also of each level of features, and of all together')
    parser.add_argument('--most', type=int, help='at most as many images of each split')
    parser.add_argument('--batch-size', type=int, default=64)
    parser.add_argument('--workers', type=int, default=default_workers(), metavar='N',
                        help='processes that read images')
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    parser.add_argument('--out', help='file for the results, .json')
    return parser.parse_args()


def read_splits(args: argparse.Namespace, size: int, value_range) -> tuple:
    """The two splits, with the classes of the first."""
    train = LabelledImages(str(settle_split(args.data, args.train)), size, args.most,
                           value_range=value_range)
    val = LabelledImages(str(settle_split(args.data, args.val)), size, args.most,
                         classes=train.classes, value_range=value_range)
    for images in (train, val):
        print(images.description, file=sys.stderr)
    return train, val


@told_in_one_line()
def main() -> None:
    args = parse_args()
    cfg = read_config(args.config)
    init_default_scope(cfg.get('default_scope', 'mmpretrain'))
    backbone = MODELS.build({**cfg.model.backbone, 'init_cfg': None})
    preprocessor = MODELS.build(cfg.data_preprocessor).to(args.device)
    check_encoder(args.checkpoint, backbone)
    train, val = read_splits(args, image_side(backbone), cfg.get('value_range'))
    backbone.load_state_dict(read_encoder(args.checkpoint), strict=False)
    backbone.to(args.device)
    (known, labels), (queries, truth) = [
        extract_levels(backbone, preprocessor, images, args.batch_size, progress=True,
                       num_workers=args.workers)
        for images in (train, val)]

    def judge(known: torch.Tensor, queries: torch.Tensor) -> dict:
        found = dict(effective_rank=round(effective_rank(known, args.device), 2))
        for k in args.k:
            found[f'knn_top1_k{k}'] = round(
                knn_accuracy(known, labels, queries, truth, k, device=args.device), 2)
        if args.linear:
            found['linear_top1'] = round(
                linear_accuracy(known, labels, queries, truth, device=args.device), 2)
        return found

    result = dict(checkpoint=args.checkpoint, train_images=len(labels), val_images=len(truth),
                  **judge(known[-1], queries[-1]))
    if args.every_level:
        # Each level counts alike side by side, whatever its scale.
        side_by_side = [torch.cat([F.normalize(level, dim=1) for level in levels], dim=1)
                        for levels in (known, queries)]
        result['levels'] = [*map(judge, known, queries), judge(*side_by_side)]
    print(file=sys.stderr)
    print(json.dumps(result, indent=2))
    if args.out:
        Path(args.out).write_text(json.dumps(result, indent=2) + '\n')


if __name__ == '__main__':
    main()
