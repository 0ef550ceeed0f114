"""Many recordings at once, on `dask.distributed`: one task each, on this machine, on a cluster or on Slurm."""
