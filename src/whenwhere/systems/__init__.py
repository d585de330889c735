"""Published systems, one module each: a frozen config, a module with ``loss`` and inference, ``save`` and ``load``."""
