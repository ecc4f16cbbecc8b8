"""How many processes there are, how they find each other, and what each of them may use."""
from mmwamim.machine.cores import granted_cores

from .processes import part_processes, settle_launcher, settle_processes
from .workers import settle_workers

__all__ = ['granted_cores', 'part_processes', 'settle_launcher', 'settle_processes',
           'settle_workers']
