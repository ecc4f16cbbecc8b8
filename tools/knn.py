"""k-NN accuracy, effective rank and linear accuracy of a frozen pre-trained encoder.

    python tools/knn.py configs/wamim/vit_b_400e.py work_dirs/vit_b_400e/encoder.pth --data FOLDER

FOLDER holds train/<class>/* and val/<class>/* (or validation/, test/ and the like; others are
named with --train and --val). The classes are those of the training split. `--linear` fits logistic
regression as well; ImageNet's usual linear probing is in configs/classification. `--every-level`
does the same with each level of features that the encoder returns (its `out_indices`) and with
all of them side by side. `mmwamim probe` needs no config.
"""
import argparse

from mmwamim.commands import probe
from mmwamim.errors import told_in_one_line


@told_in_one_line()
def main() -> None:
    parser = argparse.ArgumentParser(description='k-NN accuracy of a pre-trained encoder')
    parser.add_argument('config', help='config of the pre-training run')
    parser.add_argument('encoder', metavar='checkpoint', help='encoder.pth or epoch_N.pth')
    parser.add_argument('--data', required=True, metavar='FOLDER',
                        help='holds train/<class>/* and val/<class>/*')
    parser.add_argument('--linear', action='store_true', help='fit logistic regression as well')
    probe.add_shared(parser)
    probe.run(parser.parse_args())


if __name__ == '__main__':
    main()
