"""Fetches what a daemon counts, as Prometheus would."""

from __future__ import annotations

import socket
from urllib.request import urlopen

from prometheus_client.parser import text_string_to_metric_families


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
    return port


def fetched(port: int) -> dict[str, float]:
    """What is told, each value under its name and labels, as in "ingestd_visits_total/work/well"."""
    with urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        families = list(text_string_to_metric_families(answer.read().decode()))
    samples = [sample for family in families for sample in family.samples if not sample.name.endswith("_created")]
    return {"/".join([each.name, *each.labels.values()]): each.value for each in samples}
