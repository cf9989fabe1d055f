"""The network in PyTorch: backbones, neck and heads. Needs ``torch``; inference does not."""
