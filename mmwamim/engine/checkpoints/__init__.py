"""Checkpoint files: read without running them, written whole, and found by what is in them."""
from .finding import damage, latest_checkpoint
from .reading import check_safe, read_checkpoint, read_header
from .writing import AtomicBackend, AtomicCheckpointHook, write_atomically

__all__ = ['AtomicBackend', 'AtomicCheckpointHook', 'check_safe', 'damage', 'latest_checkpoint',
           'read_checkpoint', 'read_header', 'write_atomically']
