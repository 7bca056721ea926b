"""What ``arqube explain`` tells of a TaskQueue: what is known of it, and how that is put into words and plots."""
