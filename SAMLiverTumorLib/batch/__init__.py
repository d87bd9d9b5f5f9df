"""Cohorts: many scans segmented by several processes, on this machine or on a Dask cluster."""
