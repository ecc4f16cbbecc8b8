"""Pictures of a detector's or segmenter's predictions: show_predictions.py CONFIG CHECKPOINT."""
from mmwamim.commands.main import call, load
from mmwamim.errors import told_in_one_line


@told_in_one_line()
def main() -> None:
    call(load('predictions'))


if __name__ == '__main__':
    main()
