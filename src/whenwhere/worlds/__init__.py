"""A procedural world of which every pixel, moment and word is known: scenes, motions, pictures and labels.

Lengths are in the world's unit (a large object has a radius of 0.75), x and y lie on the floor, z points up, the floor
is z = 0. Times are seconds, angles degrees. The same seed gives the same world, to the bit.
"""
