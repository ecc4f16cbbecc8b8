"""A hook of mkdocs: links that lead out of docs/, to configs and tools, become plain file names,
since the site holds the pages alone."""
import re

OUTSIDE = re.compile(r'\[([^\]]+)\]\(\.\./[^)]+\)')


def on_page_markdown(markdown: str, **_) -> str:
    """
    >>> on_page_markdown('see [train.py](../tools/train.py) and [data](data.md)')
    'see train.py and [data](data.md)'
    """
    return OUTSIDE.sub(r'\1', markdown)
