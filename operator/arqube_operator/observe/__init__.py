"""What is: TaskQueues and their workers in Kubernetes, their queues in Redis."""
