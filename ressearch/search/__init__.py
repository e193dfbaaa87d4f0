"""Studies: the file's schema, samplers and schedulers, and the runner that makes Ray Tune carry them out."""
