"""Faults: jobs killed at any moment, full and read-only disks, wrong clocks (`python3 dev.py faults`)."""
