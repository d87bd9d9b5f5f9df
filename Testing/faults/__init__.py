"""Fault injection: killed jobs, full and read-only disks, wrong clocks (`python3 dev.py faults`)."""
