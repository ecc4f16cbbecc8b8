"""What is settled in a config before anything is built: fields, data, step, loop, processes."""
