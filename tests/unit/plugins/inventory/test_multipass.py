"""What a VM says about itself is text, and never a template that the controller runs."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml

from ...playbook import play


def test_a_vm_runs_nothing_on_the_controller(tmp_path: Path) -> None:
    evil = "{{ lookup('ansible.builtin.pipe', 'touch " + str(tmp_path / "PWNED") + "; echo pwned') }}"
    vm = {"name": "vm", "state": "Running", "ipv4": ["192.0.2.1"], "release": evil, "image_release": evil}
    answers: dict[str, Any] = {
        "/environments": {"environments": []},
        "/instances": {"instances": [vm]},
        "/instances/vm": vm,
    }

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps(answers[self.path]).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        inventory = tmp_path / "multipass.yml"
        options = {
            "plugin": "devorch.orchestration.multipass",
            "url": f"http://127.0.0.1:{server.server_port}",
            "strict": True,
            "compose": {"composed": "multipass_release"},
            "keyed_groups": [{"key": "multipass_release", "prefix": "release"}],
            "groups": {"odd": "multipass_release is search('pipe')"},
        }
        inventory.write_text(yaml.safe_dump(options))
        names = ("multipass_release", "composed")
        message = " ".join(f"<{{{{ hostvars['vm'].{name} }}}}>" for name in names)
        shown = {"name": "Show", "ansible.builtin.debug": {"msg": message}}
        groups = {"name": "Groups", "ansible.builtin.debug": {"msg": "{{ hostvars['vm'].group_names | length }}"}}
        played = play(tmp_path, [shown, groups], "-i", str(inventory))
        server.shutdown()
    assert played.returncode == 0, played.output
    assert played.results[0]["msg"] == f"<{evil}> <{evil}>"
    assert int(played.results[1]["msg"]) == 4
    assert not (tmp_path / "PWNED").exists()
