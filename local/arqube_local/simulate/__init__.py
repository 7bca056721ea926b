"""A discrete-event simulation of a TaskQueue: the operator's own decide function beside KEDA and the HPA.

Every policy gets the same arrivals, run times and start-up times for one seed: the n-th pod that a policy creates takes
as long to start as the n-th of any other. What is assumed, so that a figure can be judged:

Time
    Continuous, in seconds from the start; decide sees it as Unix seconds from a Monday at 00:00 UTC. Reads of Redis and
    calls of the API take no time. Controllers run at a phase drawn from the seed.
Jobs
    Claimed in the order of their due times by any ready pod with a free slot, at random among these. A job runs as
    long as the load says, on whichever pod. A job that is cut goes back to the head of the queue and runs from its
    beginning. A job's wait ends with its first start. A cron run exists only if a worker is ready when it is due; else
    it counts as a job that missed its target.
Pods
    Pending for a time drawn evenly between two bounds, then ready at once with all slots. There is always a node. Each
    node has one pod, so the ReplicaSet's rank by co-location never decides. Times are whole seconds where Kubernetes
    writes them so. A pod that is asked to go takes no more jobs, goes when the running ones have ended, and is killed
    at the end of its grace; one that is not ready goes at once. A pod is paid for from its creation until it has gone.
Arqube
    A tick a second on a snapshot of the moment. Heartbeats are written half a second before each tick. Marks of
    retirement are written with the snapshot after the decision, and heeded and told with the next heartbeat.
KEDA and HPA
    The HPA reads the metric anew at each sync, as KEDA without cached metrics serves it: all members of the queue's
    sorted set, so waiting, running and deferred jobs. Metrics never fail.
End
    The simulation ends with the load. A job that still waits then counts as missed if its target has passed, else not
    at all; a pod's time counts until then.
"""
