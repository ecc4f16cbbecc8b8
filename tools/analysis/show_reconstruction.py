"""Draws what a checkpoint predicts: show_reconstruction.py CONFIG CHECKPOINT IMAGES."""
import argparse
from pathlib import Path

from mmwamim.commands.show import reconstruct
from mmwamim.engine.config.reading import read_config
from mmwamim.errors import told_in_one_line


@told_in_one_line()
def main() -> None:
    parser = argparse.ArgumentParser(description='Draw reconstructions of a checkpoint')
    parser.add_argument('config')
    parser.add_argument('checkpoint', help='a full checkpoint, epoch_N.pth')
    parser.add_argument('images', help='an image, or what --data of training takes')
    parser.add_argument('--most', type=int, default=6, help='images at most (6)')
    parser.add_argument('--seed', type=int, default=0, help='of the masks')
    parser.add_argument('--out', default='reconstruction.png', help='picture to write')
    args = parser.parse_args()
    reconstruct(args.checkpoint, read_config(args.config), args.images, args.most, args.seed,
                Path(args.out))
    print(f'wrote {args.out}')


if __name__ == '__main__':
    main()
