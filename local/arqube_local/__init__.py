"""A cluster on a laptop without Docker: fake API server, process kubelet, embedded Redis; the demo runs on them."""
