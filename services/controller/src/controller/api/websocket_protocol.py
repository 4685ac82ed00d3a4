"""uvicorn's WebSockets, made fit for the released client (its behaviour: section 9 of the client's contract)."""

from __future__ import annotations

from typing import Any, Final

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol


class TolerantWebSocketProtocol(WebSocketsSansIOProtocol):
    """Takes text frames that are no UTF-8: the client sends keystrokes so, and may cut a character in two."""

    def send_receive_event_to_app(self) -> None:
        """Hand a whole message to the application, as bytes when it is not text."""
        if self.curr_msg_data_type == "text":
            try:
                b"".join(self.frames).decode()
            except UnicodeDecodeError:
                self.curr_msg_data_type = "bytes"
        super().send_receive_event_to_app()


SERVER_OPTIONS: Final[dict[str, Any]] = {
    "ws": TolerantWebSocketProtocol,
    "ws_per_message_deflate": False,  # the client refuses an answer with extensions
    "ws_ping_interval": None,  # it answers pings only while it reads, and may sit at a prompt for an hour
}
