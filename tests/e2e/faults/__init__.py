"""The fault suite: `make faults SEEDS=1-5` (docs/reliability.md says what it promises and what it found).

One seed is one run: a dev stack with a second replica of every service behind proxies (`stack`), clients that keep a journal
(`clients`, `journal`), a nemesis that plays the faults dealt to the seed (`nemesis`, `kinds`), healing, and a checker that holds
the four databases, totals, certificates and message files against the journal (`snapshot`, `checker`).
"""
