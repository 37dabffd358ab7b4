"""Command line of the lab: `python -m tests.bench.peerlab compare|probe|up ...` (see README.md)."""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
import time
import tomllib
from pathlib import Path

from tests.bench.peerlab import load, probes, report
from tests.bench.peerlab.servers import BENCH, SCRATCH, Gateway, Lab, prosody
from tests.peers.kamailio import build_guard
from tests.peers.process import Process


def main() -> int:
    parser = argparse.ArgumentParser(prog="peerlab", description=__doc__)
    parser.add_argument(
        "command",
        choices=("compare", "probe", "up"),
        help="compare: load and ratios; probe: behaviour and faults; up: start everything and wait",
    )
    parser.add_argument("gateways", nargs="+", help="names from the gateways file; the first is the baseline")
    parser.add_argument(
        "-f", "--file", action="append", type=Path, help="TOML file of gateways (may be repeated; default: tests/bench/gateways.toml)"
    )
    parser.add_argument("-w", "--work", type=Path, default=SCRATCH, help="scratch folder")
    parser.add_argument("-t", "--transport", choices=("udp", "tcp"), default="udp", help="SIP transport on both sides")
    parser.add_argument("-s", "--seconds", type=float, default=10, help="length of each latency run")
    parser.add_argument("-r", "--rates", default="100,500", help="rates for the latency runs, comma separated")
    parser.add_argument("--search-seconds", type=float, default=3, help="length of each run in the search for the maximum")
    parser.add_argument("--no-search", action="store_true", help="skip the search for the maximum")
    parser.add_argument("--limit", type=float, default=32000, help="highest rate the search tries")
    parser.add_argument("--size", type=int, default=64, help="body size in bytes")
    parser.add_argument("--only", default="", help="probe: comma separated names of probes to run")
    parser.add_argument("-o", "--out", type=Path, help="write the results as JSON too")
    options = parser.parse_args()
    files = options.file or [BENCH / "gateways.toml"]
    described: dict[str, dict[str, object]] = {}
    for file in files:
        described |= tomllib.loads(file.read_text())
    unknown = [name for name in options.gateways if name not in described]
    if unknown:
        parser.error(f"no such gateway: {', '.join(unknown)}; there are: {', '.join(described)}")
    gateways = [Gateway(name, **described[name]) for name in options.gateways]  # type: ignore[arg-type]
    options.work.mkdir(parents=True, exist_ok=True)
    lab = Lab(options.work.resolve(), components=sorted({gateway.component for gateway in gateways}))
    build_guard(BENCH / "templates" / "expat_guard.c", lab.work / "expat_guard.so")
    results = asyncio.run({"compare": compare, "probe": probe, "up": up}[options.command](options, lab, gateways))
    if options.out and results:
        options.out.write_text(json.dumps(results, indent=1) + "\n")
    return 0


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


async def started(lab: Lab, gateway: Gateway, transport: str) -> tuple[Process, Process]:
    """A fresh Prosody and a fresh gateway, both ready."""
    server = prosody(lab)
    server.start()
    server.wait_ready()
    process = gateway.process(lab, transport)
    process.start()
    try:
        if "tcp" in gateway.sip:
            process.wait_for_port(*gateway.target("tcp"))
        await asyncio.sleep(gateway.settle)
    except BaseException:
        process.kill()
        server.stop()
        raise
    return server, process


async def compare(options: argparse.Namespace, lab: Lab, gateways: list[Gateway]) -> dict[str, object]:
    """The same load through each gateway in turn; prints the table with ratios."""
    results: dict[str, object] = {"when": time.strftime("%F %T"), "transport": options.transport, "gateways": {}}
    for gateway in gateways:
        say(f"{gateway.name} ({options.transport})")
        rows: dict[str, object] = {}
        server, process = await started(lab, gateway, options.transport)
        try:
            rows["idle_mib"] = process.usage()[1]
            async with load.Bench(lab, gateway, options.transport, server, process) as bench:
                for direction in load.DIRECTIONS:
                    await bench.run(direction, 50, 1)  # warm-up
                    for rate in (float(rate) for rate in options.rates.split(",")):
                        outcome = await bench.run(direction, rate, options.seconds, options.size)
                        say(
                            f"    {direction} {rate:.0f}/s: p50 {outcome.p50:.2f} ms, p99 {outcome.p99:.2f} ms, "
                            f"lost {outcome.lost}, cpu {outcome.gateway_cpu_us:.0f} us"
                        )
                        rows[f"{direction}@{rate:.0f}"] = load.as_record(outcome)
        finally:
            process.kill()
            server.stop()
        if not options.no_search:
            for direction in load.DIRECTIONS:
                rows[f"{direction}@max"] = load.as_record(await _search(options, lab, gateway, direction))
        results["gateways"][gateway.name] = rows  # type: ignore[index]
    print(report.comparison(results))
    return results


async def _search(options: argparse.Namespace, lab: Lab, gateway: Gateway, direction: str) -> load.Outcome | None:
    """The highest clean rate, with everything restarted after each run that was not clean."""
    server, process = await started(lab, gateway, options.transport)
    bench = await load.Bench(lab, gateway, options.transport, server, process).__aenter__()

    async def recover() -> None:
        await bench.__aexit__()
        bench.process.kill()
        bench.server.stop()
        bench.server, bench.process = await started(lab, gateway, options.transport)
        bench.clients.clear()
        bench.sip = type(bench.sip)(options.transport, lab.uas_host, lab.uas_port)
        await bench.__aenter__()

    try:
        await bench.run(direction, 50, 1)
        return await load.highest_clean_rate(bench, direction, options.search_seconds, say, limit=options.limit, recover=recover)
    finally:
        await bench.__aexit__()
        bench.process.kill()
        bench.server.stop()


async def probe(options: argparse.Namespace, lab: Lab, gateways: list[Gateway]) -> dict[str, object]:
    """What each gateway does with single messages and faults; prints one table a gateway side by side."""
    results: dict[str, dict[str, str]] = {}
    wanted = [name for name in options.only.split(",") if name]
    for gateway in gateways:
        say(gateway.name)
        results[gateway.name] = await probes.run_all(lab, gateway, options.transport, started, say, wanted)
    print(report.behaviour(results))
    return dict(results)


async def up(options: argparse.Namespace, lab: Lab, gateways: list[Gateway]) -> dict[str, object]:
    """Start Prosody and every named gateway, and keep them until interrupted (for real clients)."""
    server = prosody(lab)
    server.start()
    server.wait_ready()
    processes = [gateway.process(lab, options.transport) for gateway in gateways]
    try:
        for process in processes:
            process.start()
        say(
            f"Prosody: clients {lab.xmpp_domain} on 127.0.0.1:{lab.c2s_port}, users u0..u{lab.users - 1}, "
            f"password {lab.password}; SIP peers are expected on {lab.uas_host}:{lab.uas_port}. Ctrl-C ends it."
        )
        await asyncio.Event().wait()
    finally:
        for process in processes:
            process.stop()
        server.stop()
    return {}


if __name__ == "__main__":
    # Both signals unwind through the same `finally` blocks, also where a shell started us with SIGINT ignored.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
