"""Commands of `vvi`, a file for each group of them. Nothing here imports torch."""
