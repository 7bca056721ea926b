"""What kube-controller-manager does for a Deployment: ReplicaSets by template, pods by ReplicaSet."""
