from shop.worker.base import BaseWorkerSettings
from shop.worker.jobs import total


class WorkerSettings(BaseWorkerSettings):
    functions = [total]
    queue_name = "shop:orders"
