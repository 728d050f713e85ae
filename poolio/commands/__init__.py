"""The commands of `python -m poolio`: a module for each, and what they share."""
