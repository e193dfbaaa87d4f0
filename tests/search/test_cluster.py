"""Where Ray listens, which clusters are joined and which are refused, and the commands that the docs print."""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from ressearch import load
from ressearch.cli import cli
from ressearch.errors import ResourceError
from ressearch.search import cluster

pytestmark = pytest.mark.usefixtures("no_ray")

ROOT = Path(__file__).parents[2]
STUDY = """\
space: {grid: {depth: [8, 14], width: [4, 6]}}
data: {name: synthetic}
recipe: {epochs: 2}
"""

LISTENERS = """
import json, os, sys
from pathlib import Path
import ray
from ressearch.search.cluster import start_ray

start_ray()
ray.get(ray.remote(lambda: 1).remote())
parents = {}
for one in Path("/proc").glob("[0-9]*"):
    try:
        parents[int(one.name)] = int((one / "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        pass
ours = {os.getpid()}
while found := {pid for pid, parent in parents.items() if parent in ours} - ours:
    ours |= found
sockets = set()
for pid in ours:
    for file in Path(f"/proc/{pid}/fd").glob("*"):
        try:
            sockets.add(os.readlink(file))
        except OSError:
            pass
listening = []
for table in ("tcp", "tcp6"):
    for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
        words = line.split()
        if words[3] == "0A" and f"socket:[{words[9]}]" in sockets:
            listening.append([words[1].split(":")[0], int(words[1].split(":")[1], 16)])
print(json.dumps({"processes": len(ours), "listening": listening, "gcs": ray.get_runtime_context().gcs_address}))
sys.stdout.flush()
sys.stdin.readline()
"""

LOOPBACK = {"0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000"}
"""127.0.0.1, the same as an IPv6 address, and ::1, as /proc/net writes them."""


def outer_addresses() -> list[str]:
    """The machine's addresses besides the loopback one."""
    said = subprocess.run(["hostname", "-I"], capture_output=True, text=True, check=False).stdout.split()
    return [one for one in said if not one.startswith("127.") and one != "::1"]


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="needs Linux's /proc")
def test_the_ray_of_a_study_listens_on_the_loopback_address_alone_and_asks_for_a_token() -> None:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("RAY_AUTH")}
    with subprocess.Popen(
        [sys.executable, "-c", LISTENERS.replace("import ray\n", "", 1).replace("ray.get(", "import ray\nray.get(", 1)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    ) as ran:
        assert ran.stdout is not None
        found = json.loads(ran.stdout.readline())
        ports = {port for _, port in found["listening"]}
        assert found["processes"] > 3
        assert len(ports) >= 3  # the cluster's directory, the node, the driver
        assert {address for address, _ in found["listening"]} <= LOOPBACK
        for port in ports:
            for address in outer_addresses():
                with pytest.raises(OSError, match=r"refused|unreachable"):
                    socket.create_connection((address, port), timeout=3).close()
        for token in ({}, {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 64}):
            code = "import sys; from ray._raylet import GcsClient; GcsClient(address=sys.argv[1])"
            asked = [sys.executable, "-c", code, found["gcs"]]
            said = subprocess.run(asked, env=environment | token, capture_output=True, text=True, check=False)
            assert said.returncode != 0
            assert "InvalidAuthToken" in said.stderr
        ran.communicate("\n")


def probe_without_token(address: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        for key in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN"):
            patch.delenv(key, raising=False)
        cluster.probe(address)


@contextlib.contextmanager
def not_ray() -> Iterator[str]:
    """A server that is no Ray cluster."""
    server = http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@contextlib.contextmanager
def nobody() -> Iterator[str]:
    """A port at which nothing listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{taken.getsockname()[1]}"


@pytest.mark.parametrize(
    ("place", "message"),
    [
        (not_ray, "what listens there does not answer as a Ray cluster does"),
        (nobody, "no Ray cluster answers (connection refused)"),
        ("head:6379x", "expected auto, or HOST:PORT such as 10.0.0.1:6379"),
        ("nowhere.invalid:6379", "no Ray cluster answers ("),
    ],
)
def test_a_cluster_that_is_none_is_refused_in_one_line_and_nothing_is_left(
    place: Any, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))  # where `auto` looks
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    (tmp_path / "mine.yaml").write_text(STUDY)
    with place() if callable(place) else contextlib.nullcontext(place) as address:
        arguments = ["run", str(tmp_path / "mine.yaml"), "--address", address, "--out", str(tmp_path / "run")]
        ran = CliRunner().invoke(cli, arguments, standalone_mode=False)
    assert isinstance(ran.exception, ResourceError)
    assert str(ran.exception).startswith(f"--address {address}: {message}")
    assert "\n" not in str(ran.exception)
    assert not (tmp_path / "run").exists()


def test_an_answer_is_waited_for_less_than_15_seconds() -> None:
    assert cluster._PATIENCE + cluster._LISTENER_PATIENCE < 15


def commands(heading: str) -> list[str]:
    """The commands of the first shell block under a heading of docs/search.md."""
    text = (ROOT / "docs/search.md").read_text().split(f"## {heading}", 1)[1]
    block = re.search(r"```sh\n(.*?)```", text, re.DOTALL)
    assert block is not None
    lines = (line.split("  #")[0].strip() for line in block[1].splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def test_every_cluster_that_the_docs_start_has_a_token() -> None:
    text = (ROOT / "docs/search.md").read_text()
    blocks = [block for block in re.findall(r"```\w+\n(.*?)```", text, re.DOTALL) if "ray start" in block]
    assert len(blocks) == 3  # by hand, cloud, SLURM
    for block in blocks:
        assert block.index("RAY_AUTH_MODE=token") < block.index("ray start")
        assert "auth_token" in block or "RAY_AUTH_TOKEN" in block


def test_the_docs_cluster_file_is_one_that_ray_up_takes() -> None:
    import yaml
    from ray.autoscaler._private.util import fillout_defaults, validate_config

    text = (ROOT / "docs/search.md").read_text()
    (block,) = (block for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL) if "cluster_name" in block)
    config = yaml.safe_load(block)
    validate_config(fillout_defaults(config))
    for key in ("head_start_ray_commands", "worker_start_ray_commands"):
        assert config[key][-1].startswith("export RAY_AUTH_MODE=token; ray start ")
    assert config["file_mounts"] == {"~/.ray/auth_token": "~/.ray/auth_token"}


def free_port() -> int:
    """A port below those that Ray gives its workers (10002 to 19999)."""
    for port in range(6379, 9000):
        with contextlib.suppress(OSError), socket.socket() as tried:
            tried.bind(("", port))
            return port
    raise AssertionError("no port is free")


def test_the_docs_commands_start_a_cluster_of_two_nodes_and_run_a_study_on_it(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(STUDY)
    short = tempfile.mkdtemp(prefix="r", dir="/tmp")  # paths of sockets have to be short
    port, home = free_port(), tmp_path / "home"
    home.mkdir()
    bin_path = Path(sys.executable).parent
    environment = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
    environment |= {"HOME": str(home), "RAY_TMPDIR": short, "RAY_USAGE_STATS_ENABLED": "0"}
    environment |= {
        "PATH": f"{bin_path}:{os.environ['PATH']}",
        "PYTHONPATH": f"{ROOT}:{os.environ.get('PYTHONPATH', '')}",
    }
    script = "\n".join(commands("Clusters"))
    for said, here in {
        "FIRST:6379": f"127.0.0.1:{port}",
        "--port=6379": f"--port={port}",
        "TOKEN_OF_THE_FIRST": '"$(ray get-auth-token 2>/dev/null)"',
        "/shared/mine": str(tmp_path / "run"),
        "mine.yaml": str(tmp_path / "mine.yaml"),
    }.items():
        assert said in script
        script = script.replace(said, here)
    try:
        ran = subprocess.run(
            ["bash", "-euc", script], env=environment, capture_output=True, text=True, timeout=300, check=False
        )
        assert ran.returncode == 0, ran.stdout[-3000:] + ran.stderr[-3000:]
        with pytest.raises(ResourceError, match="asks for its token"):
            probe_without_token(f"127.0.0.1:{port}")
        made = (home / ".ray/auth_token").read_text().strip()
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("RAY_AUTH_MODE", "token")
            patch.setenv("RAY_AUTH_TOKEN", made)
            assert cluster.probe(f"127.0.0.1:{port}").cpus == 2 * (os.cpu_count() or 1)
    finally:
        end_processes_of(short)
    assert load(tmp_path / "run").trials["status"].tolist() == ["completed"] * 4
    assert "done: 4 completed" in ran.stdout


def end_processes_of(directory: str) -> None:
    """End the Ray processes whose files lie in a directory (`ray stop` would end those of other sessions too)."""
    for one in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if directory in (one / "cmdline").read_text().replace("\0", " "):
                os.kill(int(one.name), signal.SIGKILL)
