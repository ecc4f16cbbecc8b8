"""What a run is while it goes on: its steps, its stops, and what it takes over when resumed."""
