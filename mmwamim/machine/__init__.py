"""What this machine has (cores, memory, devices) and the processes that are started on it."""
