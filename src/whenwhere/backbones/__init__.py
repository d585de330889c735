"""Pretrained encoders of images and texts, their weights, and the space that joins the two."""
