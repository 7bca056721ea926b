"""The jobs and the settings of their workers."""
