"""What a user gives and reads: arguments of calls, lines for a shell, output paths, progress."""
