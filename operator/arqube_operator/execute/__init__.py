"""Carries out a plan, and nothing that the plan does not say."""
