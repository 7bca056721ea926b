"""The TaskQueue API: its models, which are the one source, and the CRD made from them."""
