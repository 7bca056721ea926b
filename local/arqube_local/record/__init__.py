"""What ``arqube record`` does: follow a queue from outside, and write its arrivals as a load to simulate."""
