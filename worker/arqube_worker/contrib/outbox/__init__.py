"""A transactional outbox: a job exists if and only if the transaction that enqueued it was committed.

``Outbox.enqueue`` writes the job into a table of the app's database, in the app's transaction. A ``Relay`` moves what
was committed into Redis, where it is what arq's ``enqueue_job`` would have made of it::

    outbox = Outbox(Base.metadata)

    async with database.session() as db:  # an endpoint
        db.add(user)
        await db.flush()
        outbox.enqueue(db, "send_welcome_email", user.id)

    async with Relay(outbox, database.engine, redis):  # the app's lifespan
        yield
"""

from arqube_worker.contrib.outbox.relay import Relay
from arqube_worker.contrib.outbox.table import Outbox

__all__ = ["Outbox", "Relay"]
