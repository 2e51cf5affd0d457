"""Several processes of this machine as the hosts of one run."""

import json
import socket


def places(processes: int) -> list[dict[str, str]]:
    """Returns what each process needs in its environment to find the others."""
    if processes == 1:
        return [{}]
    hosts = [f"127.0.0.1:{port}" for port in _free_ports(processes)]
    return [
        {
            "TF_CONFIG": json.dumps(
                {"cluster": {"worker": hosts}, "task": {"type": "worker", "index": index}}
            )
        }
        for index in range(processes)
    ]


def _free_ports(count: int) -> list[int]:
    """Finds ports that nobody listens on."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for item in sockets:
            item.bind(("127.0.0.1", 0))
        return [item.getsockname()[1] for item in sockets]
    finally:
        for item in sockets:
            item.close()
