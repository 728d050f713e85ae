"""The benchmarks: `python -m poolio bench`. cli.py starts them, parts.py lists them, records.py is what they return."""
