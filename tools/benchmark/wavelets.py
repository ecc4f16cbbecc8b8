"""Times the wavelet transform against other libraries: python tools/benchmark/wavelets.py."""
from mmwamim.commands.main import call, quiet_import
from mmwamim.errors import told_in_one_line


@told_in_one_line()
def main() -> None:
    call(quiet_import('mmwamim.benchmarks.wavelets'))


if __name__ == '__main__':
    main()
