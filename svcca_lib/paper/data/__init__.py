"""The data sets, each as tensors held once."""
