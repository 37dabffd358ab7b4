"""How many SIP messages a second are read on one core, here and by sipmessage: `python -m tests.bench.parse_rate [-n MESSAGES] [-u USERS]`.

Reading means: from octets to a message that has passed `check()`, with top Via, From, To, Call-ID, CSeq, Content-Type and Content-Length
at hand. sipmessage gets the same seven values out of the same octets; it checks nothing and undoes no folding. Tags, branches, Call-IDs and
users differ from message to message, as on the wire. The best of many short runs counts; garbage collection is off in them, as in timeit.
"""

from __future__ import annotations

import argparse
import gc
from collections.abc import Callable
from time import perf_counter

from sipmessage import Message

from gateway.sip import writer
from gateway.sip.framing import StreamFramer
from gateway.sip.message import Request, parse

RUNS = 40


def short(number: int, user: int) -> bytes:
    """About 350 octets: what one hop before us sends."""
    key = f"{number:010x}"
    return (
        f"MESSAGE sip:u{user}@xmpp.test SIP/2.0\r\n"
        f"Via: SIP/2.0/UDP 127.0.0.1:15080;branch=z9hG4bK{key};rport\r\nMax-Forwards: 70\r\n"
        f"From: <sip:s{user}@sip.test>;tag={key}\r\nTo: <sip:u{user}@xmpp.test>\r\nCall-ID: {key}@127.0.0.1\r\n"
        f"CSeq: {number % 50 + 1} MESSAGE\r\nContent-Type: text/plain\r\nContent-Length: 64\r\n\r\n"
    ).encode() + b"x" * 64


def long(number: int, user: int) -> bytes:
    """About 640 octets: behind two proxies, with what user agents add."""
    return short(number, user).replace(b"Max-Forwards: 70", (
        f"Via: SIP/2.0/TCP proxy.sip.test:5060;branch=z9hG4bK{number:x}.0;received=192.0.2.7\r\n"
        f"Via: SIP/2.0/UDP 10.0.0.9:5060;branch=z9hG4bK{number:x}.1;rport=5060;received=10.0.0.9\r\n"
        f"Max-Forwards: 68\r\nContact: <sip:s{user}@10.0.0.9:5060>\r\nUser-Agent: Romeo Phone 1.2.3\r\n"
        "Allow: INVITE, ACK, CANCEL, OPTIONS, BYE, MESSAGE, SUBSCRIBE, NOTIFY"
    ).encode())  # fmt: skip


def ours(data: bytes) -> object:
    message = parse(data)
    message.check()
    return message.top_via, message.from_, message.to, message.call_id, message.cseq, message.content_type, message.content_length


def theirs(data: bytes) -> object:
    message = Message.parse(data)
    return (message.via[0], message.from_address, message.to_address, message.call_id, message.cseq, message.content_type,
            message.content_length)  # fmt: skip


def seconds_each(run: Callable[[list[bytes]], object], items: list[bytes]) -> float:
    """The best of many runs over all items, for one item."""
    best = float("inf")
    gc.disable()
    for _ in range(RUNS):
        before = perf_counter()
        run(items)
        best = min(best, perf_counter() - before)
    gc.enable()
    return best / len(items)


def over(read: Callable[[bytes], object]) -> Callable[[list[bytes]], object]:
    def run(items: list[bytes]) -> None:
        for data in items:
            read(data)

    return run


def answered(requests: list[Request]) -> Callable[[list[bytes]], object]:
    def run(_items: list[bytes]) -> None:
        for request in requests:
            writer.response(request, 202, "Accepted", to_tag="0123456789abcdef", source=("127.0.0.1", 15080))

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("-n", "--messages", type=int, default=1000, help="different messages in each run (1000)")
    parser.add_argument("-u", "--users", type=int, default=200, help="different people on each side (200); over 2000 defeats every cache")
    options = parser.parse_args()
    for name, make in (("short", short), ("long", long)):
        items = [make(number, number % options.users) for number in range(options.messages)]
        us, other = seconds_each(over(ours), items), seconds_each(over(theirs), items)
        print(f"{name:5} {len(items[-1])} octets: {us * 1e6:.1f} us, {1 / us:,.0f}/s; sipmessage {other * 1e6:.1f} us, {1 / other:,.0f}/s; "
              f"ratio {other / us:.1f}")  # fmt: skip
        requests = [message for message in map(parse, items) if isinstance(message, Request)]
        for request in requests:
            request.check()
        framed = seconds_each(over(StreamFramer().feed), items)
        print(f"      response {seconds_each(answered(requests), items) * 1e6:.1f} us; framing on a stream {framed * 1e6:.1f} us")


if __name__ == "__main__":
    main()
