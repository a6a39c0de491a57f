"""The demo: sixteen days of seeded traffic through the public interfaces, every number recomputed and compared.

`traffic` makes what the platform sends, `player` sends it, `office` does what viewers and the office do, `expectation` says what
must come of it, `check` and `privacy` look whether it did. Nothing here imports a service: it is the outside view.
"""
