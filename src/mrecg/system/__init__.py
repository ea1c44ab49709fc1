"""Access to the machine: files, locks, devices, memory, standard streams."""
