"""Many accounts on one daemon, one of them at a server that never says a word."""

from __future__ import annotations

import signal
import socket
from time import monotonic
from typing import Any

import psutil
from pymongo.database import Database

from tests.e2e.conftest import Site, kill
from tests.e2e.test_push import AT_ONCE, deliver
from tests.fakes import mail
from tests.waiting import until

Document = dict[str, Any]

COUNT = 20
THREADS = 16
STOPPED_WITHIN = 30


def test_many_accounts_wait_for_news_with_few_threads_and_a_socket_each(
    site: Site, database: Database[Document]
) -> None:
    names = [f"{site.user}{number:02}" for number in range(COUNT)]
    with socket.create_server(("127.0.0.1", 0)) as hole:
        configure(site, names, hole.getsockname()[1])
        for name in names:
            deliver(site, mail(1), name)
        process = site.start("run")
        try:
            daemon = psutil.Process(process.pid)
            until(lambda: database.placements.count_documents({"state": "stored"}) == COUNT)
            until(lambda: connections(daemon, site) == COUNT)
            until(lambda: daemon.num_threads() <= THREADS)
            for name in names[::5]:
                began = monotonic()
                deliver(site, mail(2), name)
                until(lambda account=name: database.placements.count_documents({"account": account}) == 2)  # type: ignore[misc]
                assert monotonic() - began < AT_ONCE

            began = monotonic()
            process.send_signal(signal.SIGTERM)
            _, log = process.communicate(timeout=2 * STOPPED_WITHIN)
        finally:
            if process.poll() is None:
                kill(process)

    assert monotonic() - began < STOPPED_WITHIN
    assert process.returncode == 0
    assert "Traceback" not in log


def configure(site: Site, names: list[str], port: int) -> None:
    site.write(account='every = "1h"', daemon="workers = 0")
    store, _, table = site.config.read_text().partition("[[account]]")
    accounts = [table.replace(site.user, name).replace('"work"', f'"{name}"') for name in names]
    silent = table.replace(f"port = {site.server.imaps_port}", f'port = {port}\ntls = "none"')
    site.config.write_text(store + "".join(f"[[account]]{each}" for each in [*accounts, silent]))


def connections(daemon: psutil.Process, site: Site) -> int:
    return sum(bool(each.raddr) and each.raddr.port == site.server.imaps_port for each in daemon.net_connections())
