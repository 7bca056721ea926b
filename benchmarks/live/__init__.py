"""Arqube's operator and a real HPA on one real cluster, under the same jobs at the same time."""
