"""Channel attention on CIFAR-10: mechanisms, backbones, training and evidence."""

import os

# Strict runs need the first; with less than a connection each, streams wait for one another (CUDA's
# default is 8). Both are read once, as a GPU is first asked for.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
os.environ.setdefault("CUDA_DEVICE_MAX_CONNECTIONS", "32")
