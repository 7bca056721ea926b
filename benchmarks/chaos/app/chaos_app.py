"""x"""
async def noop(ctx):
    """x"""
class WorkerSettings:
    """x"""
    functions = [noop]
