"""Measures Fanzha on this machine, beside other ways to do the same job: `python -m bench` (docs/performance.md)."""
