"""Channel attention on CIFAR-10: mechanisms, backbones, training and evidence."""
