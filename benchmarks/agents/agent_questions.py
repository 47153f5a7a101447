"""Thirty questions about the runs of `fixtures/pretrain.wandb.zip`, of which the answers were planted.

Each has one `pull-logs` command, and one script over `wandb.Api()`, which `measure_agents.py` runs over the
replay of the bundle and over JSON documents as a server of tools gives them.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
if str(FIXTURES) not in sys.path:
    sys.path.append(str(FIXTURES))

import pretrain  # noqa: E402 - from the fixtures
from pretrain import Plan  # noqa: E402

BUNDLE = pretrain.BUNDLE
SMALL_WEB = 'config.num_params == 10000000 and config.dataset == "web"'
DONE = 'complete == true and state == "finished"'
_HEAD = 'import wandb\nruns = wandb.Api().runs("lab/pretrain")\n'
_HISTORY = """def history(run, *keys):
    keys = ["_step", *keys]
    rows = ([row[k] for k in keys] for row in run.scan_history(keys=keys))
    return [row for row in rows if None not in row]
"""


@dataclass(frozen=True, slots=True)
class Question:
    """A question.

    Attributes:
        text: The question.
        truth: Its answer: words and numbers, in any order that `found` gives them.
        command: The words of the command after `pull-logs`, without `-b`.
        found: A regular expression whose groups are the answer in what the command prints.
        script: A script that prints the answer.
        within: The largest relative error of a number.
    """

    text: str
    truth: Callable[[], Sequence[object]]
    command: str
    found: str
    script: str
    within: float = 0.002


def _plan(run_id: str) -> Plan:
    return next(plan for plan in pretrain.plans() if plan.run_id == run_id)


def _rows(run_id: str, name: str) -> list[tuple[int, float]]:
    return [(row["_step"], row[name]) for row in pretrain.rows_of(_plan(run_id)) if name in row]


def _values(run_id: str, name: str) -> list[float]:
    return [value for _, value in _rows(run_id, name)]


def _last(run_id: str, name: str) -> float:
    return _values(run_id, name)[-1]


def _chosen(**facts: object) -> list[str]:
    return [
        plan.run_id
        for plan in pretrain.plans()
        if all(getattr(plan, name) == value for name, value in facts.items())
    ]


def _front() -> list[str]:
    front = []
    for size in pretrain.SIZES:
        last = {run: _last(run, "val/loss") for run in _chosen(dataset="web", size=size)}
        front.append(min((loss, run) for run, loss in last.items() if not math.isnan(loss))[1])
    return front


def _std(values: Sequence[float]) -> float:
    mean = math.fsum(values) / len(values)
    return math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1))


def _script(body: str, *, history: bool = False) -> str:
    return _HEAD + (_HISTORY if history else "") + body


QUESTIONS: tuple[Question, ...] = (
    Question(
        "How many runs are there, and how many finished?",
        lambda: [36, 35],
        "overview",
        r"runs=(\d+) [\s\S]*?finished,(\d+),",
        _script('print(len(runs), sum(r.state == "finished" for r in runs))'),
    ),
    Question(
        "Which run crashed, and at which step?",
        lambda: [pretrain.CRASHED, pretrain.CRASH_STEP],
        "overview",
        r"(?m)^crashed,1,(\w+),,(\d+)",
        _script('print(*((r.id, r.lastHistoryStep) for r in runs if r.state == "crashed"))'),
    ),
    Question(
        "Which run became NaN, from which step on?",
        lambda: [pretrain.DIVERGED, pretrain.NAN_STEP],
        "overview --select '^train/loss$'",
        r"(?m)^nan,1,(\w+),train/loss,(\d+)",
        _script(
            'for r in runs:\n    bad = [s for s, x in history(r, "train/loss") if x != x]\n'
            "    if bad: print(r.id, bad[0])",
            history=True,
        ),
    ),
    Question(
        "Which run's training loss spiked, and at which step?",
        lambda: [pretrain.SPIKED, pretrain.SPIKE_STEP],
        "overview --select '^train/loss$'",
        r"(?m)^spike,1,(\w+),train/loss,(\d+)",
        _script(
            'for r in runs:\n    h = history(r, "train/loss")\n'
            "    print(*(f'{r.id} {h[i][0]}' for i in range(3, len(h)) if h[i][1] > 2 * h[i - 1][1]))",
            history=True,
        ),
    ),
    Question(
        "How large was the gradient norm at the spike of lc8s1?",
        lambda: [60],
        "-r lc8s1 --select '^train/grad_norm$' --around 1500 --window 1",
        r"(?m)^1500,([\d.]+)",
        _script(
            'r = next(r for r in runs if r.id == "lc8s1")\nprint(dict(history(r, "train/grad_norm"))[1500])',
            history=True,
        ),
    ),
    Question(
        "Which runs are incomplete, and how many rows are missing?",
        lambda: [pretrain.INCOMPLETE, pretrain.ROWS - pretrain.RECEIVED],
        "-H --filter 'complete == false' --select '^val/loss$'",
        r"(ac7s0)[\s\S]*?(\d+) of 60 rows are missing",
        _script(
            "for r in runs:\n    n = sum(1 for _ in r.scan_history())\n"
            "    if n < r.lastHistoryStep // 50 + 1: print(r.id, r.lastHistoryStep // 50 + 1 - n)"
        ),
    ),
    Question(
        "Which optimizer is better at 10M parameters on web, and by how much?",
        lambda: ["lion", _lead()],
        f"compare --group-by config.optimizer.name --best val/loss:min --filter '{SMALL_WEB}'",
        r'G1 \(config\.optimizer\.name="?(\w+)"?\)[\s\S]*?paired t,3/3,(-?[\d.]+)',
        _script(
            "import statistics\nm = {}\nfor r in runs:\n"
            '    c = r.config\n    if c["num_params"] == 10**7 and c["dataset"] == "web":\n'
            '        m.setdefault(c["optimizer"]["name"], []).append(r.summary["val/loss"])\n'
            "a, b = sorted(m, key=lambda k: statistics.mean(m[k]))\n"
            "print(a, statistics.mean(m[a]) - statistics.mean(m[b]))"
        ),
        within=0.02,
    ),
    Question(
        "Is that lead more than noise of the seeds (p < 0.05, paired by seed)?",
        lambda: ["beyond"],
        f"compare --group-by config.optimizer.name --best val/loss:min --filter '{SMALL_WEB}'",
        r"(beyond) seed noise",
        _script(
            'import scipy.stats\nm = {}\nfor r in sorted(runs, key=lambda r: r.config["seed"]):\n'
            '    c = r.config\n    if c["num_params"] == 10**7 and c["dataset"] == "web":\n'
            '        m.setdefault(c["optimizer"]["name"], []).append(r.summary["val/loss"])\n'
            'print("beyond" if scipy.stats.ttest_rel(*m.values()).pvalue < 0.05 else "within")'
        ),
    ),
    Question(
        "Are the two optimizers the same within 10 % there?",
        lambda: ["equivalent"],
        f"compare --group-by config.optimizer.name --best val/loss:min --margin 10% --filter '{SMALL_WEB}'",
        r"it is (equivalent) to",
        _script(
            "import statistics, scipy.stats\nm = {}\n"
            'for r in sorted(runs, key=lambda r: r.config["seed"]):\n'
            '    c = r.config\n    if c["num_params"] == 10**7 and c["dataset"] == "web":\n'
            '        m.setdefault(c["optimizer"]["name"], []).append(r.summary["val/loss"])\n'
            "a, b = m.values()\nd = [x - y for x, y in zip(a, b)]\n"
            "e = 0.1 * statistics.mean(b)\n"
            'p = max(scipy.stats.ttest_1samp(d, e, alternative="less").pvalue,'
            ' scipy.stats.ttest_1samp(d, -e, alternative="greater").pvalue)\n'
            'print("equivalent" if p < 0.05 else "undecided")'
        ),
    ),
    Question(
        "Which size is best on web after 1,000 seconds?",
        lambda: [10**8],
        "compare --x _runtime --at 1000 --group-by config.num_params --best val/loss:min "
        "--filter 'config.dataset == \"web\"'",
        r"G1 \(config\.num_params=(\d+)\)",
        _script(
            "import numpy as np\nm = {}\nfor r in runs:\n"
            '    if r.config["dataset"] != "web": continue\n'
            '    h = history(r, "_runtime", "val/loss")\n'
            "    x = [t for _, t, _ in h]; y = [v for *_, v in h]\n"
            '    m.setdefault(r.config["num_params"], []).append(np.interp(1000, x, y, left=9, right=9))\n'
            "print(min(m, key=lambda k: np.mean(m[k])))",
            history=True,
        ),
    ),
    Question(
        "Which size is best on web after 5 million tokens?",
        lambda: [10**9],
        "compare --x tokens --at 5e6 --group-by config.num_params --best val/loss:min "
        "--filter 'config.dataset == \"web\"'",
        r"G1 \(config\.num_params=(\d+)\)",
        _script(
            "import numpy as np\nm = {}\nfor r in runs:\n"
            '    if r.config["dataset"] != "web": continue\n'
            '    h = history(r, "tokens", "val/loss")\n'
            "    x = [t for _, t, _ in h]; y = [v for *_, v in h]\n"
            '    m.setdefault(r.config["num_params"], []).append(np.interp(5e6, x, y))\n'
            "print(min(m, key=lambda k: np.mean(m[k])))",
            history=True,
        ),
    ),
    Question(
        "Which run reached a validation loss of 3 first on web, in seconds?",
        lambda: list(
            min((seconds, run) for run in _chosen(dataset="web") if (seconds := _reach(run, 3)))[::-1]
        ),
        "compare --column 'reach=at_first(_runtime, val/loss < 3)' --sort reach:min --top 1 "
        "--filter 'config.dataset == \"web\"'",
        r"(?m)^(\w+),([\d.hms]+)",
        _script(
            "m = {}\nfor r in runs:\n"
            '    if r.config["dataset"] != "web": continue\n'
            '    t = [t for _, t, v in history(r, "_runtime", "val/loss") if v < 3]\n'
            "    if t: m[r.id] = t[0]\n"
            "print(min(m, key=m.get), min(m.values()))",
            history=True,
        ),
    ),
    Question(
        "At which step did the training loss of lc8s1 first fall below 4?",
        lambda: [next(step for step, loss in _rows("lc8s1", "train/loss") if loss < 4)],
        "-r lc8s1 --select '^reach$' --eval 'reach=first_step(train/loss < 4)' --last 1",
        r"(?m)^2950,(\d+)",
        _script(
            'r = next(r for r in runs if r.id == "lc8s1")\n'
            'print(next(s for s, x in history(r, "train/loss") if x < 4))',
            history=True,
        ),
    ),
    Question(
        "With which power of the size does the validation loss fall, for lion on code?",
        lambda: [pretrain.EXPONENT],
        "compare --fit 'log(val/loss) ~ log(config.num_params)' "
        '--filter \'config.dataset == "code" and config.optimizer.name == "lion"\'',
        r"num_params \*\* (-?[\d.]+)",
        _script(
            "import numpy as np\n"
            'p = [(r.config["num_params"], r.summary["val/loss"]) for r in runs'
            ' if r.config["dataset"] == "code" and r.config["optimizer"]["name"] == "lion"]\n'
            "print(np.polyfit(*np.log(np.array(p)).T, 1)[0])"
        ),
        within=0.05,
    ),
    Question(
        "Which setting explains most of the final validation loss?",
        lambda: ["dataset"],
        f"compare --effect val/loss:min --filter '{DONE}'",
        r"config\.(\w+) matters most",
        _script(
            "import numpy as np, pandas as pd\n"
            'd = pd.DataFrame([{"optimizer": r.config["optimizer"]["name"], **{k: r.config[k] for k in'
            ' ("dataset", "num_params", "seed")}, "y": r.summary["val/loss"]} for r in runs'
            ' if r.state == "finished"]).dropna()\n'
            "d.y = d.y.astype(float)\n"
            'print(max(("optimizer", "dataset", "num_params", "seed"),'
            " key=lambda k: d.groupby(k).y.transform('mean').var()))"
        ),
    ),
    Question(
        "Which runs on web are the best trade-off of time and loss?",
        _front,
        f"compare --pareto 'duration:min, val/loss:min' --filter 'config.dataset == \"web\" and {DONE}'",
        r"(?m)^(\w+),[\d.hms]+,[\d.]+\n(\w+),[\d.hms]+,[\d.]+\n(\w+),",
        _script(
            'p = sorted((r.summary["_runtime"], r.summary["val/loss"], r.id) for r in runs'
            ' if r.config["dataset"] == "web" and r.state == "finished"'
            ' and isinstance(r.summary["val/loss"], float) and r.summary["val/loss"] < 9)\n'
            "best = float('inf')\nfor t, v, i in p:\n    if v < best: best = v; print(i)"
        ),
    ),
    Question(
        "How many GPU hours did all runs take?",
        lambda: [math.fsum(plan.seconds for plan in pretrain.plans()) * pretrain.GPU_COUNT / 3600],
        "compare --column 'gpu_hours=duration * metadata.gpu_count / 3600' --sort gpu_hours:max --top 1",
        r"(?m)^gpu_hours,36,0,([\d.]+)",
        _script('print(sum(r.summary["_runtime"] * r.metadata["gpu_count"] for r in runs) / 3600)'),
    ),
    Question(
        "Which run left its GPUs waiting, and how busy were they, in percent?",
        lambda: [pretrain.IDLE, pretrain.IDLE_SHARE],
        "compare --column 'busy=mean(system.gpu.0.gpu)' --sort busy:min --top 1",
        r"(?m)^(lw7s0),([\d.]+)",
        _script(
            'm = {r.id: r.history(stream="system")["system.gpu.0.gpu"].mean() for r in runs}\n'
            "print(min(m, key=m.get), min(m.values()))"
        ),
        within=0.02,
    ),
    Question(
        "Which of the runs of seed 0 with lion used an H100?",
        lambda: _chosen(optimizer="lion", dataset="web", seed=0),
        "-H --select '^val/loss$' --filter 'metadata.gpu contains \"H100\" and config.seed == 0 "
        'and config.optimizer.name == "lion"\'',
        r"(?s)(lw7s0).*?(lw8s0).*?(lw9s0)",
        _script(
            'print(*(r.id for r in runs if "H100" in r.metadata["gpu"] and r.config["seed"] == 0'
            ' and r.config["optimizer"]["name"] == "lion"))'
        ),
    ),
    Question(
        "Which baselines of seed 1 saw Wikipedia?",
        lambda: _chosen(optimizer="adamw", dataset="web", seed=1),
        '-H --select \'^val/loss$\' --filter \'tags contains "baseline" and config.mixture contains "wiki" '
        "and config.seed == 1'",
        r"(?s)(aw7s1).*?(aw8s1).*?(aw9s1)",
        _script(
            'print(*(r.id for r in runs if "baseline" in r.tags and "wiki" in r.config["mixture"]'
            ' and r.config["seed"] == 1))'
        ),
    ),
    Question(
        "Of which commit is lw9s2?",
        lambda: [pretrain.COMMITS["lion"]],
        "-r lw9s2 --meta",
        r"(c0ffee42)",
        _script('print(next(r for r in runs if r.id == "lw9s2").commit)'),
    ),
    Question(
        "With which Python was aw7s2 made?",
        lambda: ["3.12.4"],
        "-r aw7s2 --meta",
        r"CPython (3\.\d+\.\d+)",
        _script('print(next(r for r in runs if r.id == "aw7s2").metadata["python"].split()[1])'),
    ),
    Question(
        "Until which step did the learning rate of lw8s0 rise?",
        lambda: [max(step for step, lr in _rows("lw8s0", "lr") if lr < 3e-4)],
        "-r lw8s0 --select '^warm$' --eval 'warm=last_step(lr < 3e-4)' --last 1",
        r"(?m)^2950,(\d+)",
        _script(
            'r = next(r for r in runs if r.id == "lw8s0")\n'
            'print(max(s for s, x in history(r, "lr") if x < 3e-4))',
            history=True,
        ),
    ),
    Question(
        "How noisy is the training loss of lw8s0 after step 2000 (standard deviation)?",
        lambda: [_std([loss for step, loss in _rows("lw8s0", "train/loss") if step > 2000])],
        "compare -r lw8s0 --where '_step > 2000' --column 'noise=std(train/loss)'",
        r"(?m)^lw8s0,([\d.]+)",
        _script(
            'import statistics\nr = next(r for r in runs if r.id == "lw8s0")\n'
            'print(statistics.stdev(x for s, x in history(r, "train/loss") if s > 2000))',
            history=True,
        ),
    ),
    Question(
        "How many tokens per second do runs of 1B parameters process, on average?",
        lambda: [_rate(10**9)],
        "compare --column 'rate=mean(train/tokens_per_sec)' --group-by config.num_params --sort rate:max",
        r"(?m)^rate,G3,12,([\d.]+)",
        _script(
            "import statistics\nprint(statistics.mean(statistics.mean(x for _, x in"
            ' history(r, "train/tokens_per_sec")) for r in runs if r.config["num_params"] == 10**9))',
            history=True,
        ),
        within=0.005,
    ),
    Question(
        "How many layers does aw7s0 log the norm of?",
        lambda: [pretrain.FAMILY],
        "-r aw7s0 --schema",
        r"layers\.\{0\.\.(?P<last>47)\}",
        _script(
            'r = next(r for r in runs if r.id == "aw7s0")\n'
            'print(len({k for row in r.scan_history() for k in row if k.startswith("layers.")}))'
        ),
    ),
    Question(
        "How do the configs of ac7s0 and lc7s0 differ?",
        lambda: ["adamw", "lion"],
        "-r ac7s0 -r lc7s0 -H --select '^val/loss$'",
        r'optimizer\.name,"?(\w+)"?,"?(\w+)"?',
        _script(
            'a, b = (next(r for r in runs if r.id == i).config for i in ("ac7s0", "lc7s0"))\n'
            'print(*(x for k in a if a[k] != b[k] for x in (a[k]["name"], b[k]["name"])))'
        ),
    ),
    Question(
        "How large does the norm of layer 11 get in aw7s0?",
        lambda: [max(_values("aw7s0", "layers.11.attn.norm"))],
        "-r aw7s0 --schema --select '^layers.11.attn.norm$'",
        r"layers\.11\.attn\.norm,number,10,0,[\d.]+,([\d.]+)|layers\.11\.attn\.norm,number,10,(?:[^,]*,){3}([\d.]+)",
        _script(
            'r = next(r for r in runs if r.id == "aw7s0")\n'
            'print(max(x for _, x in history(r, "layers.11.attn.norm")))',
            history=True,
        ),
    ),
    Question(
        "What was the training loss of aw8s1 where it was resumed, and 50 steps before?",
        lambda: [dict(_rows("aw8s1", "train/loss"))[step] for step in (950, 1000)],
        "-r aw8s1 --select '^train/loss$' --around 1000 --window 1",
        r"(?m)^950,([\d.]+)\n1000,([\d.]+)",
        _script(
            'r = next(r for r in runs if r.id == "aw8s1")\n'
            'h = dict(history(r, "train/loss"))\nprint(h[950], h[1000])',
            history=True,
        ),
    ),
    Question(
        "How far is the validation loss of lc9s0 above its training loss at the end?",
        lambda: [_last("lc9s0", "val/loss") - _last("lc9s0", "train/loss")],
        "-r lc9s0 --select '^gap$' --eval 'gap=val/loss - train/loss' --last 1",
        r"(?m)^2950,([\d.]+)",
        _script(
            's = next(r for r in runs if r.id == "lc9s0").summary\nprint(s["val/loss"] - s["train/loss"])'
        ),
        within=0.01,
    ),
)


def _lead() -> float:
    means = [
        math.fsum(_last(run, "val/loss") for run in _chosen(optimizer=name, dataset="web", size=10**7))
        for name in ("lion", "adamw")
    ]
    return (means[0] - means[1]) / pretrain.SEEDS


def _reach(run: str, below: float) -> float | None:
    plan = _plan(run)
    steps = [step for step, loss in _rows(run, "val/loss") if loss < below]
    return steps[0] * pretrain.SECONDS_PER_STEP[plan.size] if steps else None


def _rate(size: int) -> float:
    means = []
    for run in _chosen(size=size):
        values = _values(run, "train/tokens_per_sec")
        means.append(math.fsum(values) / len(values))
    return math.fsum(means) / len(means)
