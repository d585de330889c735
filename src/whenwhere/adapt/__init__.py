"""Cheap adaptation of frozen backbones: side networks, placed adapters, nested experts, and their peers."""
