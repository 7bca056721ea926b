"""The demo: a day in the life of one TaskQueue in two minutes, with a ledger that proves nothing was lost."""
