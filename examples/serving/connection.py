"""One client's connection: HTTP as h11 parses it, and how long a client may take."""

import asyncio
import collections
import contextlib
import email.utils
import http
import re

import h11
from errors import RequestError, as_json

MAX_HEAD_BYTES = 16 * 1024
# Below this rate, beyond --client-seconds, a client that sends or takes is too slow.
LEAST_BYTES_PER_S = 64 * 1024
# How long a refused client may go on sending what is not read, to get to the answer.
LINGER_S = 5


class Connection:
    """One connection: its requests one after another."""

    def __init__(self, server, reader, writer, client_s):
        self._server, self._reader, self._writer = server, reader, writer
        self._client_s = client_s
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD_BYTES)
        self.is_idle, self._method = True, b""
        # By client, the bytes of the request and its answer.
        self.held = collections.Counter()
        # `drain` then waits until the client has taken all but what its kernel buffers.
        writer.transport.set_write_buffer_limits(0)

    async def refuse(self, refusal):
        """Answers before a request is read, and closes at once: connections may be too many."""
        with contextlib.suppress(ConnectionError, asyncio.TimeoutError):
            await self._send(refusal.status, as_json(refusal))
        self._writer.close()

    async def serve(self):
        """Answers until the client or the server ends it."""
        try:
            while await self._exchange():
                self._http.start_next_cycle()
        except (ConnectionError, asyncio.TimeoutError, h11.LocalProtocolError):
            self._writer.transport.abort()
        finally:
            self._server.release(self)
            self._writer.close()

    async def _exchange(self):
        """Reads a request and answers it; returns whether another may follow."""
        try:
            head = await self._head()
            if head is None:
                return False
            self.is_idle = False
            status, body = await self._server.answer(head, self)
        except RequestError as error:
            status, body = error.status, as_json(error)
        except h11.RemoteProtocolError as error:
            status, body = error.error_status_hint, as_json(f"{error}: expected HTTP/1.1")
        await self._send(status, body)
        self._server.release(self)
        self.is_idle = True
        if self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
            return True
        # Unread bytes at closing make a reset, which would overtake the answer.
        self._writer.write_eof()
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._discard(), LINGER_S)
        return False

    async def _head(self):
        """Returns the request's head, or None if the connection ended or lay idle."""
        raw = bytearray(self._http.trailing_data[0])

        async def read():
            while True:
                event = self._http.next_event()
                if event is not h11.NEED_DATA:
                    return event
                data = await self._reader.read(MAX_HEAD_BYTES)
                raw.extend(data)
                self._http.receive_data(data)

        try:
            head = await asyncio.wait_for(read(), self._client_s)
        except asyncio.TimeoutError as error:
            if not raw:
                return None
            text = f"the head was not whole within {self._client_s:g} s: send it at once"
            raise RequestError(408, text) from error
        if not isinstance(head, h11.Request):
            return None
        self._method = head.method
        # h11 makes one of two equal lengths, and prefers chunks to a length. A proxy in front may
        # choose otherwise, and would then see other requests than this server.
        text = re.split(rb"\n\r?\n", bytes(raw), maxsplit=1)[0].lower()
        lengths = re.findall(rb"\ncontent-length[ \t]*:[ \t]*([^\r\n]*)", text)
        if len(lengths) + (b"\ntransfer-encoding" in text) > 1 or b"," in b"".join(lengths):
            raise RequestError(400, "more than one header tells the body's length: send one")
        return head

    async def body(self, length):
        """Reads a body of `length` bytes."""
        if self._http.they_are_waiting_for_100_continue:
            self._write(h11.InformationalResponse(status_code=100, headers=[]))
        pieces = []

        async def read():
            while True:
                event = self._http.next_event()
                if event is h11.NEED_DATA:
                    self._http.receive_data(await self._reader.read(256 * 1024))
                elif isinstance(event, h11.Data):
                    pieces.append(bytes(event.data))
                else:
                    return

        limit_s = self._client_s + length / LEAST_BYTES_PER_S
        try:
            await asyncio.wait_for(read(), limit_s)
        except asyncio.TimeoutError as error:
            found = f"{sum(map(len, pieces))} of {length} bytes of the body within {limit_s:.0f} s"
            raise RequestError(408, f"{found}: send it faster") from error
        return b"".join(pieces)

    async def end_of_request(self):
        """Reads the end of a request without a body."""
        self._http.next_event()

    def is_gone(self):
        """Tells whether the client closed its side."""
        return self._reader.at_eof() or self._writer.transport.is_closing()

    def peer(self):
        """Returns the client's address; None if the connection has ended."""
        return (self._writer.get_extra_info("peername") or [None])[0]

    async def _send(self, status, body):
        headers = [
            ("Date", email.utils.formatdate(usegmt=True)),
            ("Content-Type", "application/json"),
            ("Content-Length", str(len(body))),
        ]
        if status in (429, 503):
            headers.append(("Retry-After", "1"))
        if status == 405:
            headers.append(("Allow", "GET, POST"))
        if self._server.is_stopping or self._http.their_state is not h11.DONE:
            headers.append(("Connection", "close"))
        reason = http.HTTPStatus(status).phrase
        self._write(h11.Response(status_code=status, headers=headers, reason=reason))
        if self._method != b"HEAD":
            self._write(h11.Data(data=body))
            self._write(h11.EndOfMessage())
        limit_s = self._client_s + len(body) / LEAST_BYTES_PER_S
        await asyncio.wait_for(self._writer.drain(), limit_s)

    def _write(self, event):
        self._writer.write(self._http.send(event))

    async def _discard(self):
        while await self._reader.read(256 * 1024):
            # Slowly, for nobody waits for it, and reading takes the time of others.
            await asyncio.sleep(0.01)
