"""Videos and pictures of one's own."""
