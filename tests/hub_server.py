"""A small hub of Hugging Face on this machine: the endpoints with which huggingface_hub makes a model, fills it and reads it."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

import yaml

LICENCES = ("unknown", "mit", "apache-2.0")
TOKEN = "hf_of_the_test"


@dataclass
class Repository:
    """Commits in their order, each with all its files."""

    private: bool = False
    gated: bool = False
    commits: list[tuple[str, dict[str, bytes]]] = field(default_factory=list)

    def commit(self, files: dict[str, bytes]) -> str:
        content = {**(self.commits[-1][1] if self.commits else {}), **files}
        sha = hashlib.sha1(f"{len(self.commits)}{sorted(content)}".encode()).hexdigest()
        self.commits.append((sha, content))
        return sha

    def at(self, revision: str) -> tuple[str, dict[str, bytes]] | None:
        if revision == "main":
            return self.commits[-1] if self.commits else ("0" * 40, {})
        return next((commit for commit in self.commits if commit[0] == revision), None)


class Hub(ThreadingHTTPServer):
    """The hub; `asked` holds method and path of every request, `broken` makes it answer with this status alone."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repositories: dict[str, Repository] = {}
        self.asked: list[str] = []
        self.broken: int | None = None
        self.sizes: dict[str, int] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Hub

    def log_message(self, *arguments: Any) -> None:
        """Print nothing."""

    def answer(self, status: int, content: Any = None, **headers: str) -> None:
        data = content if isinstance(content, bytes) else json.dumps(content or {}).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    @property
    def known(self) -> bool:
        return self.headers.get("Authorization") == f"Bearer {TOKEN}"

    def handle_any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = unquote(urlsplit(self.path).path)
        self.server.asked.append(f"{self.command} {path}")
        if self.server.broken:
            return self.answer(self.server.broken)
        if path == "/api/repos/create":
            return self.create(json.loads(body))
        if path == "/api/validate-yaml":
            return self.validate(json.loads(body)["content"])
        found = re.fullmatch(r"/(?:api/models/)?([^/]+/[^/]+)(?:/(\w+)/([^/]+)(?:/(.+))?)?", path)
        repository = self.server.repositories.get(found[1]) if found else None
        if found is None or repository is None or (repository.private and not self.known):
            return self.answer(404 if self.known else 401, X_Error_Code="RepoNotFound")
        if repository.gated:
            return self.answer(403, X_Error_Code="GatedRepo")
        revision = repository.at(found[3] or "main")
        if revision is None:
            return self.answer(404, X_Error_Code="RevisionNotFound")
        return {
            None: self.info,
            "revision": self.info,
            "resolve": self.file,
            "preupload": self.modes,
            "commit": self.commit,
        }[found[2]](found, repository, revision, body)

    do_GET = do_HEAD = do_POST = handle_any

    def create(self, asked: dict[str, Any]) -> None:
        if not self.known:
            return self.answer(401)
        if asked["organization"] != "user":
            return self.answer(403)
        name = f"{asked['organization']}/{asked['name']}"
        private = asked.get("private") is True or asked.get("visibility") == "private"
        self.server.repositories[name] = Repository(private)
        return self.answer(200, {"url": f"{self.server.url}/{name}"})

    def validate(self, card: str) -> None:
        """Refuse what the real hub refuses of a card: a licence with a name of its own."""
        metadata = yaml.safe_load(card.split("---\n")[1])
        if metadata["license"] not in LICENCES:
            return self.answer(
                400, {"errors": [{"message": '"license" must be one of the known ones'}], "warnings": []}
            )
        return self.answer(200, {"errors": [], "warnings": []})

    def info(self, found: re.Match[str], repository: Repository, revision: Any, body: bytes) -> None:
        sizes = {name: self.server.sizes.get(name, len(data)) for name, data in revision[1].items()}
        files = [{"rfilename": name, "size": size} for name, size in sizes.items()]
        self.answer(200, {"id": found[1], "sha": revision[0], "private": repository.private, "siblings": files})

    def file(self, found: re.Match[str], repository: Repository, revision: Any, body: bytes) -> None:
        data = revision[1].get(found[4])
        if data is None:
            return self.answer(404, X_Error_Code="EntryNotFound", X_Repo_Commit=revision[0])
        return self.answer(200, data, X_Repo_Commit=revision[0], ETag=f'"{hashlib.sha1(data).hexdigest()}"')

    def modes(self, found: re.Match[str], repository: Repository, revision: Any, body: bytes) -> None:
        if not self.known:
            return self.answer(401)
        modes = [
            {"path": file["path"], "uploadMode": "regular", "shouldIgnore": False} for file in json.loads(body)["files"]
        ]
        return self.answer(200, {"files": modes})

    def commit(self, found: re.Match[str], repository: Repository, revision: Any, body: bytes) -> None:
        if not self.known:
            return self.answer(401)
        values = [json.loads(line) for line in body.splitlines()]
        files = [entry["value"] for entry in values if entry["key"] == "file"]
        sha = repository.commit({file["path"]: base64.b64decode(file["content"]) for file in files})
        return self.answer(200, {"commitUrl": f"{self.server.url}/{found[1]}/commit/{sha}", "commitOid": sha})
