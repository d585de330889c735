"""Public annotation formats: one module for each reads its files into records, and writes them where a world does.

A malformed file is an `whenwhere.errors.InputError` that names the file and the line or the field.
"""
