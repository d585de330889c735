"""Parts that more than one system uses; each module is imported by name, nothing is loaded here."""
