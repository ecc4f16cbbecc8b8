"""Writes an encoder for timm, ONNX, ...: python tools/export.py ENCODER --to timm --out FILE."""
from mmwamim.commands import export
from mmwamim.commands.main import call
from mmwamim.errors import told_in_one_line


@told_in_one_line()
def main() -> None:
    call(export)


if __name__ == '__main__':
    main()
