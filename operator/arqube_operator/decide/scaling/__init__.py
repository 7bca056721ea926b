"""How many workers a queue needs, and which of them may go: the policy, and the reasons it gives.

It learns from successive snapshots (``learning``, ``crons``), counts the pods that help (``fleet``), finds what the
jobs need (``demand``), holds that within what the user asked for (``limits``, ``schedules``) and takes pods away
without cutting a job (``retirement``); ``decision`` has the steps in their order, ``words`` the sentences.
"""

from arqube_operator.decide.scaling.decision import decide_replicas
from arqube_operator.decide.scaling.model import Decision, Inputs, ScalingMemory, Term

__all__ = ["Decision", "Inputs", "ScalingMemory", "Term", "decide_replicas"]
