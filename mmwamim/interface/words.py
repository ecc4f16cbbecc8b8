"""Words for what is printed."""


def counted(number: int, noun: str) -> str:
    """A number with its noun, in the plural where it is not 1.

    Examples:
        >>> counted(1, 'image'), counted(2, 'process'), counted(1000, 'step'), counted(3, 'epoch')
        ('1 image', '2 processes', '1,000 steps', '3 epochs')
    """
    hisses = noun.endswith(('s', 'sh', 'ch')) and noun != 'epoch'
    ending = '' if number == 1 else 'es' if hisses else 's'
    return f'{number:,} {noun}{ending}'
