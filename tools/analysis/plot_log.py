"""Draws losses and learning rate of runs: python tools/analysis/plot_log.py RUN [RUN ...]."""
import argparse
from pathlib import Path

from mmwamim.errors import told_in_one_line
from mmwamim.visualization import draw_losses


@told_in_one_line()
def main() -> None:
    parser = argparse.ArgumentParser(description='Draw the losses of one or more runs')
    parser.add_argument('runs', nargs='+', metavar='RUN', help='work directory of a run')
    parser.add_argument('--out', help='picture to write (default: loss_curve.png in the first run)')
    args = parser.parse_args()
    out = args.out or Path(args.runs[0]) / 'loss_curve.png'
    draw_losses(args.runs, out)
    print(f'wrote {out}')


if __name__ == '__main__':
    main()
