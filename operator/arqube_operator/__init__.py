"""The TaskQueue API and its operator: observes Kubernetes and Redis, decides purely, executes the plan."""
