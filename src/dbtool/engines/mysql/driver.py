"""PyMySQL's connection, which gives a server that asks for a file of this machine a plain refusal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pymysql
from pymysql.connections import Connection
from pymysql.protocol import OKPacketWrapper

_MALFORMED_PACKET = 2027
_REFUSED = "the server asked for a file of this machine, and got none"

if TYPE_CHECKING:
    # What is behind the driver's door has no types.
    _Base: Any = Connection
else:
    _Base = Connection


class DriverConnection(_Base):  # type: ignore[misc]
    """Any statement, also those that the driver sends by itself, may be answered with such a wish. Nothing
    is sent then, and the connection is closed."""

    def _read_query_result(self, unbuffered: bool = False) -> Any:
        try:
            return super()._read_query_result(unbuffered)
        except RuntimeError:  # the driver's own word for it
            raise self._refused(_REFUSED) from None

    def _read_ok_packet(self) -> Any:
        packet = self._read_packet()
        if not packet.is_ok_packet():
            is_wish = packet.is_load_local_packet()
            raise self._refused(_REFUSED if is_wish else "the server answered something else than was asked")
        answer: Any = OKPacketWrapper(packet)
        self.server_status = answer.server_status
        return answer

    def _refused(self, reason: str) -> Exception:
        self._force_close()
        return pymysql.OperationalError(_MALFORMED_PACKET, reason)
