"""Blocks that methods share: two-stream trunks, pooling, necks."""
