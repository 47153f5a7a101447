"""`info`: the identities of a bundle and its runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from pull_logs._version import FORMAT
from pull_logs.cli.bundle_paths import Named, near_or_far

if TYPE_CHECKING:
    from pull_logs.snapshot import Bundle


def _facts(bundle: Bundle) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "command": "info",
        "path": str(bundle.path),
        "bundle_id": bundle.bundle_id,
        "content_id": bundle.content_id,
        "metrics": bundle.manifest.metrics,
        "redacted": dict(bundle.manifest.redacted),
        "runs": [
            {
                "path": str(run.path),
                "name": run.name,
                "state": run.state,
                "rows": run.rows,
                "last_step": run.last_step,
                "complete": run.complete,
                "files": [
                    {"name": file.name, "bytes": file.size, "sha256": file.sha256, "md5": file.md5}
                    for file in run.files.values()
                ],
            }
            for run in bundle.runs()
        ],
    }


@click.command()
@click.argument("bundle", metavar="BUNDLE", callback=near_or_far)
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of text.")
def info(bundle: Named, *, as_json: bool) -> None:
    """Tell what a bundle holds: its identities and its runs."""
    from pull_logs.cli.render import escape, json_lines
    from pull_logs.snapshot import open_bundle

    with open_bundle(bundle) as opened:
        facts = _facts(opened)
    if as_json:
        click.echo(json_lines(facts))
        return
    runs = facts["runs"]
    click.echo(
        f"[BUNDLE] path={escape(facts['path'])} runs={len(runs)} rows={sum(run['rows'] for run in runs)}"
    )
    click.echo(f"bundle_id {facts['bundle_id']}\ncontent_id {facts['content_id']}")
    if facts["metrics"] is not None:
        click.echo(f"[METRICS] matching={escape(facts['metrics'])}")
    if facts["redacted"]:
        removed = " ".join(f"{escape(kind)}={count}" for kind, count in facts["redacted"].items())
        click.echo(f"[REDACTED] {removed}")
    click.echo(f"[RUNS] count={len(runs)}")
    for run in runs:
        whole = "complete" if run["complete"] else "INCOMPLETE"
        last = "-" if run["last_step"] is None else run["last_step"]
        size = sum(file["bytes"] for file in run["files"])
        files = f" files={len(run['files'])} file_bytes={size}" if run["files"] else ""
        click.echo(
            f"{escape(run['path'])} name={escape(run['name'])} state={escape(run['state'])}"
            f" rows={run['rows']} last_step={last}{files} {whole}"
        )
