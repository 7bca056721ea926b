"""Arqube's policy against KEDA and the HPA, simulated: all loads, several seeds, and the figures it must reach."""
