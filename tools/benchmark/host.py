"""What the host does in a step besides the networks: python tools/benchmark/host.py [CONFIG]."""
from mmwamim.commands.main import call, quiet_import
from mmwamim.errors import told_in_one_line


@told_in_one_line()
def main() -> None:
    call(quiet_import('mmwamim.benchmarks.host'))


if __name__ == '__main__':
    main()
