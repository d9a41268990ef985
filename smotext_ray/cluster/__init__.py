"""Ray: resources, pools, restarts, progress."""
