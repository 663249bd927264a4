"""The classification metrics, one file each, which declares it as `METRIC`."""
