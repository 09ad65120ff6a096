"""What every other part stands on: files of tensors, and what people type."""
