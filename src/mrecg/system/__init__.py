"""What the package asks of the machine: files, locks, devices, memory, streams."""
