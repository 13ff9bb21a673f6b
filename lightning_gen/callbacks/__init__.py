"""What happens beside the training steps, and when."""
