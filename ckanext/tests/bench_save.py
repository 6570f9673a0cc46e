#!/usr/bin/env python3
"""How much longer does a user wait for a save with the plugin than without?

usage: bench_save.py URL_WITH URL_WITHOUT TOKEN [ROUNDS]

Both URLs serve the same database; ROUNDS (default 5) rounds of 30 pairs of `resource_patch`, one call to each in turn,
first the one and then the other, so that whatever else the machine does falls on both alike.
"""
from __future__ import annotations

import http.client
import json
import statistics
import sys
import time
import uuid
from urllib.parse import urlsplit

PAIRS = 30
WARM_UP = 10


class Site:
    """One URL, over one connection that is kept open."""

    def __init__(self, url: str, token: str) -> None:
        self._connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
        self._headers = {"Content-Type": "application/json", "Authorization": token}

    def call(self, action: str, **data: object) -> dict:
        self._connection.request("POST", f"/api/3/action/{action}", json.dumps(data), self._headers)
        response = self._connection.getresponse()
        body = response.read()
        if response.status != 200:
            raise SystemExit(f"{action}: {response.status} {body[:500]!r}")
        return json.loads(body)["result"]

    def patch(self, resource: str) -> float:
        """Milliseconds of a patch that changes something."""
        start = time.perf_counter()
        self.call("resource_patch", id=resource, hash=uuid.uuid4().hex)
        return 1000 * (time.perf_counter() - start)


def main() -> None:
    if len(sys.argv) < 4:
        raise SystemExit(__doc__)
    sites = [Site(url, sys.argv[3]) for url in sys.argv[1:3]]
    organization = sites[0].call("organization_create", name=f"bench-{uuid.uuid4().hex[:12]}")
    dataset = sites[0].call(
        "package_create", name=f"bench-{uuid.uuid4().hex[:12]}", owner_org=organization["id"],
        resources=[{"url": "http://127.0.0.1:9/a"}, {"url": "http://127.0.0.1:9/b"}],
    )
    resource = dataset["resources"][0]["id"]
    for site in sites * WARM_UP:
        site.patch(resource)
    everything: tuple = ([], [])
    for number in range(1, 1 + (int(sys.argv[4]) if len(sys.argv) > 4 else 5)):
        taken: tuple = ([], [])
        for pair in range(PAIRS):
            for which in (0, 1) if pair % 2 else (1, 0):
                taken[which].append(sites[which].patch(resource))
        report(f"round {number}", taken)
        for which in (0, 1):
            everything[which].extend(taken[which])
    report("all", everything)
    sites[0].call("dataset_purge", id=dataset["id"])
    sites[0].call("organization_purge", id=organization["id"])


def report(title: str, taken: tuple) -> None:
    with_plugin, without = map(statistics.median, taken)
    print(f"{title}: with {with_plugin:.1f} ms, without {without:.1f} ms, ratio {with_plugin / without:.3f}")


if __name__ == "__main__":
    main()
