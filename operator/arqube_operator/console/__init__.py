"""The console: web pages that show what the operator sees and why it scales, and may retry dead letters.

Off unless asked for. Served on loopback alone, so that the cluster's own authentication (``kubectl port-forward``) is
the way in. Pages are made from what the controller keeps; Redis is asked for the page at hand only.
"""
