"""Looks at a project that uses arq, by its text alone: what its TaskQueue would be, and what would go wrong.

::

    sources, dependencies, dockerfile    the project's files, read once
    names, values             what a name in them stands for, and what an expression comes to
    worker_settings, jobs     the settings objects, and the jobs each of them runs
    rules/                    each a function from what was read to findings
    draft, manifest           from what was read to a TaskQueue with the reason of each value

Nothing of the project is imported here. ``imported`` asks ``arqube-worker check`` in the project's own Python for that.
"""
