"""Pure decisions: frozen values and the time in, a plan that explains itself out. No I/O, no clock."""
