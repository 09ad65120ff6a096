"""What is measured with the features of a trained network, and how it is searched."""
