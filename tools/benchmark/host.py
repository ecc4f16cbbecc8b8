"""What the host does in a step besides the networks: python tools/benchmark/host.py [CONFIG]."""
from mmwamim.benchmarks import host
from mmwamim.commands.main import call
from mmwamim.errors import told_in_one_line


@told_in_one_line()
def main() -> None:
    call(host)


if __name__ == '__main__':
    main()
