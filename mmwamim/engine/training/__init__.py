"""What a run is while it goes on: its steps, its stops, and what it takes over when resumed."""
from .iteration_loop import ResumableIterLoop
from .preemption import Preempted, PreemptionHook
from .resume import ResumeHook

__all__ = ['Preempted', 'PreemptionHook', 'ResumableIterLoop', 'ResumeHook']
