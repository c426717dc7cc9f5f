"""What is measured: the signals, their hourly tensors, and which of them are abnormal."""
