"""Pictures of a detector's or segmenter's predictions beside the labels.

    python tools/analysis/show_predictions.py CONFIG CHECKPOINT [--data FOLDER] [--out DIR]

One picture for each of the first images of the config's test set, labels left and prediction
right, drawn by the visualizer of mmdet or mmseg.
"""
import argparse
import sys
from pathlib import Path

import torch
from mmengine.dataset import pseudo_collate
from mmengine.registry import DATASETS, MODELS, VISUALIZERS, init_default_scope

from mmwamim.datasets.loading import read_rgb, turn_to_size
from mmwamim.engine.checkpoints import read_checkpoint
from mmwamim.engine.config.data import settle_data
from mmwamim.engine.config.reading import read_config
from mmwamim.engine.distributed.processes import settle_processes
from mmwamim.errors import UserError, told_in_one_line


@told_in_one_line()
def main() -> None:
    parser = argparse.ArgumentParser(description='Draw predictions beside the labels')
    parser.add_argument('config', help='a detection or segmentation config')
    parser.add_argument('checkpoint', help='a checkpoint of that config')
    parser.add_argument('--data', metavar='FOLDER', help='the folder of its data set')
    parser.add_argument('--out', type=Path, default=Path('predictions'), metavar='DIR')
    parser.add_argument('--most', type=int, default=6, help='number of pictures')
    parser.add_argument('--score', type=float, default=0.5, help='boxes of at least this score')
    args = parser.parse_args()
    cfg = read_config(args.config)
    if cfg.get('default_scope') not in ('mmdet', 'mmseg'):
        raise UserError(f'{args.config} is neither of mmdet nor of mmseg')
    init_default_scope(cfg.default_scope)
    settle_data(cfg, args.data)
    settle_processes(cfg, 'none')
    state = read_checkpoint(args.checkpoint)['state_dict']
    cfg.model.backbone.init_cfg = None
    model = MODELS.build(cfg.model)
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise UserError(f'{args.checkpoint} is not a checkpoint of {args.config}: {error}'
                        ) from error
    model.eval()
    dataset = DATASETS.build(cfg.test_dataloader.dataset)
    visualizer = VISUALIZERS.build(dict(cfg.visualizer, vis_backends=None))
    visualizer.dataset_meta = dataset.metainfo
    drawn = dict(pred_score_thr=args.score) if cfg.default_scope == 'mmdet' else \
        dict(with_labels=False)
    args.out.mkdir(parents=True, exist_ok=True)
    for number in range(min(args.most, len(dataset))):
        with torch.no_grad():
            sample = model.test_step(pseudo_collate([dataset[number]]))[0].cpu()
        pixels = read_rgb(sample.img_path, value_range=cfg.get('value_range'))
        image = turn_to_size(sample.img_path, pixels, sample.ori_shape)
        path = args.out / f'{Path(sample.img_path).stem}.png'
        visualizer.add_datasample(path.stem, image, sample, draw_gt=True, show=False,
                                  out_file=str(path), **drawn)
        print(f'\r{number + 1}/{min(args.most, len(dataset))} ', end='', file=sys.stderr)
    print(f'\nwrote {args.out}')


if __name__ == '__main__':
    main()
