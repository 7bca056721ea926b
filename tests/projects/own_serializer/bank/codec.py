import json
from datetime import date
from decimal import Decimal
from typing import Any


def dumps(value: dict[str, Any]) -> bytes:
    return json.dumps(value, default=_write).encode()


def loads(data: bytes) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(data, object_hook=_read)
    return found


def _write(value: Any) -> Any:
    if isinstance(value, Decimal):
        return {"__decimal__": str(value)}
    if isinstance(value, date):
        return {"__date__": value.isoformat()}
    return {"__error__": repr(value)}


def _read(value: dict[str, Any]) -> Any:
    if "__decimal__" in value:
        return Decimal(value["__decimal__"])
    if "__date__" in value:
        return date.fromisoformat(value["__date__"])
    return value
