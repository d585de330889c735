"""How the shipped models and the demo are made: each recipe says its command, its cost and its score."""
