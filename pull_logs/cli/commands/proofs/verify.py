"""`verify`: check a bundle and locate damage, and prove that it holds what W&B has."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import click

from pull_logs.cli.bundle_paths import Named, bundle_argument
from pull_logs.cli.formats import format_options, take_choice
from pull_logs.cli.options import engine_options, take_engine
from pull_logs.cli.output import print_result
from pull_logs.cli.pulling import CONCURRENCY
from pull_logs.errors import DifferenceError, UsageError

if TYPE_CHECKING:
    from pull_logs.executors import Engine
    from pull_logs.proof import BundleProof, SdkCheck
    from pull_logs.snapshot import VerifyReport


@click.command()
@bundle_argument()
@click.option(
    "--deep/--quick",
    default=True,
    show_default=True,
    help="Decode every row, or check only structure and hashes. With --against wandb: read and compare the"
    " rows of W&B, or only count them, with which no run is safe.",
)
@click.option(
    "--against",
    type=click.Choice(["wandb", "sdk"]),
    help="wandb: ask W&B again, and give each run a verdict: safe to delete there, or not safe and why"
    " (exit 7). sdk: compare a sample of the runs with what wandb.Api() reads (exit 7 for a difference).",
)
@click.option("--list", "as_list", is_flag=True, help="With --against wandb: print only the safe runs.")
@click.option(
    "--sample",
    type=click.IntRange(min=1),
    default=20,
    show_default=True,
    metavar="N",
    help="With --against sdk: how many runs to compare.",
)
@click.option(
    "--seed",
    type=int,
    default=0,
    show_default=True,
    metavar="N",
    help="With --against sdk: chooses the runs; the same seed chooses the same runs.",
)
@engine_options
@format_options()
@CONCURRENCY
def verify(
    *,
    bundle: Named,
    deep: bool,
    against: Literal["wandb", "sdk"] | None,
    as_list: bool,
    sample: int,
    seed: int,
    concurrency: int,
    **options: Any,
) -> None:
    """Check every byte of a bundle against its manifest; damage is located (exit 6).

    With --against wandb, W&B is asked what it has of each run. A run is safe only if the bundle has all of
    it; nothing is ever deleted. For example `pull-logs verify sweep.wandb.zip --against wandb --list`, or
    `pull-logs verify sweep.wandb.zip --against sdk --sample 5`.
    """
    from pull_logs.cli.render import json_lines
    from pull_logs.cli.sections import verify_object, verify_sections

    choice = take_choice(options)
    if as_list and against != "wandb":
        raise UsageError("--list is given without --against wandb", hint="write: --against wandb --list")
    if as_list and choice.as_json:
        raise UsageError("--list and --json exclude each other", hint='the JSON has the list as "safe"')
    jobs = options["jobs"]
    with take_engine(options) as engine:
        report = _check(bundle, engine, deep=deep, processes=jobs or os.cpu_count() or 1)
    proof, check = None, None
    if against == "wandb" and not report.damages:
        proof = _ask(bundle, compare_rows=deep, concurrency=concurrency)
    elif against == "sdk" and not report.damages:
        check = _read_with_sdk(bundle, sample=sample, seed=seed)
    result = verify_object(report, proof, check)
    if as_list:
        safe = [] if proof is None else proof.paths("safe")
        click.echo("".join(f"{path}\n" for path in safe), nl=False)
    else:
        print_result(choice, sections=lambda: verify_sections(result), json=lambda: json_lines(result))
    _require_intact(report)
    if proof is not None:
        _require_safe(proof)
    if check is not None:
        _require_equal(check)


def _check(bundle: Named, engine: Engine, *, deep: bool, processes: int) -> VerifyReport:
    """Check a bundle against its manifest, on an engine or, if that is this thread, in so many processes."""
    from pull_logs.snapshot import is_bundle_set, verify_bundle
    from pull_logs.snapshot.read import check_in_processes
    from pull_logs.snapshot.sets import verify_set

    check = verify_set if is_bundle_set(bundle) else verify_bundle
    if not engine.is_serial:
        from pull_logs.snapshot.workers import check_on

        return check(bundle, deep=deep, share=partial(check_on, engine=engine))
    return check(bundle, deep=deep, share=partial(check_in_processes, processes=processes))


def _ask(bundle: Named, *, compare_rows: bool, concurrency: int) -> BundleProof:
    """Ask W&B what it has of the runs of a bundle."""
    from pull_logs.cli.pulling import progress_display
    from pull_logs.proof import AskOptions, prove_against_wandb

    with progress_display() as hook:
        options = AskOptions(concurrency=concurrency, progress=hook)
        return prove_against_wandb(bundle, compare_rows=compare_rows, options=options)


def _read_with_sdk(bundle: Named, *, sample: int, seed: int) -> SdkCheck:
    """Compare a sample of the runs of a bundle with what the SDK reads."""
    from pull_logs.proof import check_against_sdk

    return check_against_sdk(bundle, sample=sample, seed=seed)


def _require_equal(check: SdkCheck) -> None:
    """Make sure that every run of the sample is equal.

    Raises:
        DifferenceError: A run differs, or was not compared.
    """
    unequal = [run for run in check.runs if not run.equal]
    if unequal:
        count = len(check.runs)
        what = "differs or was not compared" if len(unequal) == 1 else "differ or were not compared"
        raise DifferenceError(f"{len(unequal)} of {count} runs {what} with what the SDK reads")


def _require_intact(report: VerifyReport) -> None:
    """Make sure that nothing is damaged.

    Raises:
        BundleDamagedError: Something is.
    """
    from pull_logs.cli.sections import damage_text
    from pull_logs.errors import BundleDamagedError

    if not report.damages:
        return
    first, name = report.damages[0], repr(str(report.path))
    others = "" if _is_in_doubt(report) else "; what is not named above is intact"
    raise BundleDamagedError(
        first.reason if first.reason.startswith(name) else f"{name} is damaged: {damage_text(first)}",
        path=str(report.path),
        member=first.member,
        hint=f"get it again from its source{others}",
    )


def _is_in_doubt(report: VerifyReport) -> bool:
    """Whether damage leaves open which files there are or what should be in them: others were not checked."""
    from pull_logs.snapshot.format import DIGEST, MANIFEST

    return any(
        damage.member.rpartition(": ")[2] in ("container", "catalog", MANIFEST, DIGEST)
        for damage in report.damages
    )


def _require_safe(proof: BundleProof) -> None:
    """Make sure that every run is safe or gone.

    Raises:
        DifferenceError: A run is not safe.
    """
    unsafe = len(proof.paths("not safe"))
    if unsafe:
        verb = "is" if unsafe == 1 else "are"
        raise DifferenceError(
            f"{unsafe} of {len(proof.runs)} runs {verb} not safe to delete",
            hint="fetch with --system --console --files '*' --artifacts all has all that a bundle can hold",
        )
