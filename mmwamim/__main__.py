"""``python -m mmwamim COMMAND``: the same as the command ``mmwamim``."""
from .commands.main import main

if __name__ == '__main__':
    main()
