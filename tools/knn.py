"""k-NN accuracy, effective rank and linear accuracy of a frozen pre-trained encoder.

    python tools/knn.py configs/wamim/vit_b_400e.py work_dirs/vit_b_400e/encoder.pth --data FOLDER

FOLDER holds train/<class>/* and val/<class>/* (or test/<class>/*). `--linear` fits logistic
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
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope

from mmwamim.engine.weights import check_encoder, read_encoder
from mmwamim.evaluation.features import (
    LabelledImages,
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
    parser.add_argument('--k', type=int, nargs='+', default=[10, 20], help='neighbours')
    parser.add_argument('--linear', action='store_true', help='fit logistic regression as well')
    parser.add_argument('--every-level', action='store_true',
                        help='also of each level of features, and of all together')
    parser.add_argument('--most', type=int, help='at most as many images of each split')
    parser.add_argument('--batch-size', type=int, default=64)
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    parser.add_argument('--out', help='file for the results, .json')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    if not Path(args.config).is_file():
        sys.exit(f'error: there is no config {args.config!r}')
    train = Path(args.data) / 'train'
    val = next((Path(args.data) / name for name in ('val', 'test')
                if (Path(args.data) / name).is_dir()), None)
    if not train.is_dir() or val is None:
        sys.exit(f'error: {args.data!r} must hold train/<class>/* and val/<class>/*')
    cfg = Config.fromfile(args.config)
    init_default_scope(cfg.get('default_scope', 'mmpretrain'))
    backbone = MODELS.build({**cfg.model.backbone, 'init_cfg': None})
    preprocessor = MODELS.build(cfg.data_preprocessor).to(args.device)
    try:
        check_encoder(args.checkpoint, backbone)
    except (FileNotFoundError, ValueError) as error:
        sys.exit(f'error: {error}')
    backbone.load_state_dict(read_encoder(args.checkpoint), strict=False)
    backbone.to(args.device)
    (known, labels), (queries, truth) = (
        extract_levels(backbone, preprocessor,
                       LabelledImages(str(folder), image_side(backbone), args.most),
                       args.batch_size, progress=True) for folder in (train, val))

    def judge(known: torch.Tensor, queries: torch.Tensor) -> dict:
        found = dict(effective_rank=round(effective_rank(known), 2))
        for k in args.k:
            found[f'knn_top1_k{k}'] = round(knn_accuracy(known, labels, queries, truth, k), 2)
        if args.linear:
            found['linear_top1'] = round(linear_accuracy(known, labels, queries, truth), 2)
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
