"""Draws the wavelet pyramid of an image: show_targets.py IMAGE [--wavelet haar] [--level 5]."""
import argparse

from mmwamim.commands.show import draw_wavelets
from mmwamim.errors import told_in_one_line


@told_in_one_line()
def main() -> None:
    parser = argparse.ArgumentParser(description='Draw the wavelet pyramid of an image')
    parser.add_argument('image')
    parser.add_argument('--wavelet', default='haar', help='a discrete wavelet of PyWavelets')
    parser.add_argument('--level', type=int, default=5, help='number of levels')
    parser.add_argument('--mode', default='periodization', help='extension beyond the borders')
    parser.add_argument('--value-range', type=float, nargs=2, metavar=('LOW', 'HIGH'),
                        help='black and white in data deeper than 8 bits')
    parser.add_argument('--out', default='targets.png', help='picture to write')
    args = parser.parse_args()
    draw_wavelets(args.image, args.out, args.wavelet, args.level, args.mode, args.value_range)
    print(f'wrote {args.out}')


if __name__ == '__main__':
    main()
