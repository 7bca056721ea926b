"""Users created while everything is killed: whether each committed one has exactly one welcome mail recorded."""
