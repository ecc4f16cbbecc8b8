"""What is settled in a config before anything is built: its fields, the data, the step, the loop."""
