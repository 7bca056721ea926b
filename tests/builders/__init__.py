"""What tests begin with: states for decisions, and jobs on their way."""
