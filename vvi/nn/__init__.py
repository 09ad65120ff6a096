"""Blocks that two or more methods share: trunks, pooling, necks, memory."""
