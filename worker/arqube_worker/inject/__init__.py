"""The runtime as a folder that is brought into a pod, and run there by the Python of an image that knows nothing of it.

::

    run.py      what Python is given: finds the rest, and says so where the image cannot run it
    own/        arqube_worker and arqube_queue; in front of the image's packages, as they hide nothing of the app's
    missing/    what they need beside arq; behind the image's packages, so that the app keeps its own versions

All of it is pure Python, for every version of it that the worker runs on.
"""
