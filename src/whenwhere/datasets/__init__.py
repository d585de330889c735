"""Public annotation formats: one module for each reads its files into records, and writes them where a world does."""
