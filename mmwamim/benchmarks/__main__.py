"""``python -m mmwamim.benchmarks NAME ...``: the same as ``tools/benchmark/NAME.py ...``."""
import sys
from pathlib import Path

from mmwamim.commands.main import call, quiet_import
from mmwamim.errors import UserError, told_in_one_line

NAMES = sorted(path.stem for path in Path(__file__).parent.glob('[a-z]*.py'))


@told_in_one_line()
def main() -> None:
    name = sys.argv[1] if len(sys.argv) > 1 else ''
    if name not in NAMES:
        raise UserError(f'there is no benchmark {name!r}: give one of {", ".join(NAMES)}')
    call(quiet_import(f'mmwamim.benchmarks.{name}'), sys.argv[2:], f'mmwamim.benchmarks {name}')


if __name__ == '__main__':
    main()
