"""A kubelet whose containers are processes of this machine: no images, mounts, users, limits; the rest is real."""
