"""Situations of resolving: which columns a name means, and what is said where it means none."""

from __future__ import annotations

import pytest

from pull_logs.analyze.expressions.compile import compile_expression
from pull_logs.analyze.expressions.nodes import Name, Number, Product, Sum
from pull_logs.analyze.expressions.parser import parse
from pull_logs.analyze.expressions.resolver import MAX_SLASHES, resolve
from pull_logs.errors import ExpressionError, MetricNotFoundError, UnknownNameError

METRICS = ["_step", "train/loss", "val/loss", "val/acc", "loss", "lr", "grad-norm", "a b"]


@pytest.mark.parametrize(
    ("text", "resolved", "names"),
    [
        ("train/loss", "train/loss", {"train/loss"}),
        ("loss/2", "loss / 2", {"loss"}),
        ("_step/1000", "_step / 1000", {"_step"}),
        ("loss/2.5e1", "loss / 25", {"loss"}),
        ("loss//2", "loss // 2", {"loss"}),
        ("train/loss/val/loss", "train/loss / val/loss", {"train/loss", "val/loss"}),
        ("train/loss/10/lr", "train/loss / 10 / lr", {"train/loss", "lr"}),
        ("train/loss/val/loss//2", "train/loss / val/loss // 2", {"train/loss", "val/loss"}),
        ("loss/2 > val/acc", "loss / 2 > val/acc", {"loss", "val/acc"}),
        ("1 - loss/2", "1 - loss / 2", {"loss"}),
        ("100 * loss/2", "100 * (loss / 2)", {"loss"}),
        ("loss/2 * 100", "(loss / 2) * 100", {"loss"}),
        ("-loss/2", "-(loss / 2)", {"loss"}),
        ("`grad-norm` / `a b`", "`grad-norm` / `a b`", {"grad-norm", "a b"}),
        ("`train/loss`", "`train/loss`", {"train/loss"}),
        ("1 + 2", "1 + 2", set()),
    ],
)
def test_a_name_is_the_column_or_else_a_division(text: str, resolved: str, names: set[str]) -> None:
    expression = compile_expression(text, METRICS)
    assert str(expression.node) == resolved
    assert expression.names == names
    assert expression.text == text
    assert expression.notes == ()


def test_the_parts_of_a_division_point_into_the_text() -> None:
    text = "1 + train/loss//20"
    node = resolve(parse(text), METRICS, source=text).node
    assert isinstance(node, Sum)
    division = node.rest[0][1]
    assert isinstance(division, Product)
    assert division == Product(Name("train/loss"), (("//", Number(20.0)),))
    assert division.span == (4, 18)
    assert text[slice(*division.first.span)] == "train/loss"
    assert text[slice(*division.rest[0][1].span)] == "20"


def test_an_exact_name_wins_and_a_note_tells_of_the_division() -> None:
    expression = compile_expression("train/loss < 1 or train/loss > 2", ["train/loss", "train", "loss"])
    assert expression.names == {"train/loss"}
    assert expression.notes == (
        "'train/loss' is read as the metric of that name; write 'train / loss' for the division",
    )


@pytest.mark.parametrize("text", ["`train/loss`", "train / loss"])
def test_what_is_said_plainly_needs_no_note(text: str) -> None:
    assert compile_expression(text, ["train/loss", "train", "loss"]).notes == ()


def test_a_comparison_with_null_is_noted() -> None:
    assert compile_expression("loss == null", METRICS).notes == (
        "a comparison with null is always false; ask with 'is missing' or 'is not missing'",
    )


@pytest.mark.parametrize("text", ["2 ** train/loss", "2 / train/loss", "-train/loss"])
def test_an_exact_name_is_clear_wherever_it_stands(text: str) -> None:
    assert compile_expression(text, ["train/loss", "train", "loss"]).names == {"train/loss"}


def test_fewest_splits_win() -> None:
    expression = compile_expression("a/b/c", ["a", "b", "c", "a/b"])
    assert str(expression.node) == "a/b / c"


@pytest.mark.parametrize("column", ["2", "not", "1a", ""])
def test_what_needs_backticks_is_no_part_of_a_division(column: str) -> None:
    if column == "2":
        assert compile_expression("loss/2", ["loss", "2"]).names == {"loss"}
    else:
        with pytest.raises(UnknownNameError):
            compile_expression(f"loss/{column or '//1'}", ["loss", column])


@pytest.mark.parametrize(
    ("text", "columns", "message"),
    [
        (
            "a/b/c > 1",
            ["a", "b/c", "a/b", "c"],
            (
                "'a/b/c' can be read as 'a / b/c' and as 'a/b / c'; put spaces around the slash that divides\n"  # noqa: E501
                "    a/b/c > 1\n    ~~~~^"
            ),
        ),
        (
            "2 ** loss/2",
            METRICS,
            (
                "'loss/2' is 'loss / 2', which is unclear beside '**'; put spaces around the slash that divides, "  # noqa: E501
                "and parentheses where they belong\n    2 ** loss/2\n         ~~~~~^"
            ),
        ),
        (
            "lr / -loss/2",
            METRICS,
            (
                "'loss/2' is 'loss / 2', which is unclear beside '/'; put spaces around the slash that divides, "  # noqa: E501
                "and parentheses where they belong\n    lr / -loss/2\n          ~~~~~^"
            ),
        ),
        (
            "-loss//2",
            METRICS,
            (
                "'loss//2' is 'loss // 2', which is unclear beside '-'; put spaces around the slash that divides, "  # noqa: E501
                "and parentheses where they belong\n    -loss//2\n     ~~~~~~^"
            ),
        ),
        (
            "1 + roling_mean(loss, 3)",
            METRICS,
            (
                "there is no function 'roling_mean'; the nearest are rolling_mean, mean, isnan\n"
                "    1 + roling_mean(loss, 3)\n        ~~~~~~~~~~^"
            ),
        ),
        (
            "loss/abs(lr)",
            METRICS,
            "there is no function 'loss/abs'; put spaces around a slash that divides\n    loss/abs(lr)\n    ~~~~~~~^",  # noqa: E501
        ),
        ("ema(loss)", METRICS, "ema(x, alpha) takes 2 arguments, not 1\n    ema(loss)\n    ~~~~~~~~^"),
        ("abs()", METRICS, "abs(x) takes 1 argument, not 0\n    abs()\n    ~~~~^"),
        (
            "lag(lr, 1, 2)",
            METRICS,
            "lag(x, n=1) takes 1 or 2 arguments, not 3\n    lag(lr, 1, 2)\n    ~~~~~~~~~~~~^",
        ),
        (
            "min(loss)",
            METRICS,
            (
                "min(x, y, ...) takes 2 or more arguments, not 1; the least of all rows is quantile(x, 0)\n"
                "    min(loss)\n    ~~~~~~~~^"
            ),
        ),
        (
            "mean(loss, lr)",
            METRICS,
            "mean(x) takes 1 argument, not 2\n    mean(loss, lr)\n    ~~~~~~~~~~~~~^",
        ),
        (
            "quantile(lr)",
            METRICS,
            "quantile(x, q) takes 2 arguments, not 1\n    quantile(lr)\n    ~~~~~~~~~~~^",
        ),
        (
            "first_step()",
            METRICS,
            "first_step(COND) takes 1 argument, not 0\n    first_step()\n    ~~~~~~~~~~~^",
        ),
        ("avg(lr)", METRICS, "there is no function 'avg'; write mean(x)\n    avg(lr)\n    ~~^"),
    ],
)
def test_what_cannot_be_resolved_is_an_error_that_points_at_it(
    text: str, columns: list[str], message: str
) -> None:
    with pytest.raises(ExpressionError) as caught:
        compile_expression(text, columns)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "val/los < 1",
            (
                "no metric is named 'val/los'; the nearest are val/loss, loss, train/loss, val/acc, lr"
                "\n    val/los < 1\n    ~~~~~~^"
            ),
        ),
        (
            "1 + gradnorm",
            (
                "no metric is named 'gradnorm'; the nearest are `grad-norm`, train/loss, val/loss, lr, `a b`\n"  # noqa: E501
                "    1 + gradnorm\n        ~~~~~~~^"
            ),
        ),
        (
            "lr == True",
            (
                "no metric is named 'True'; the nearest are _step, lr, train/loss, `grad-norm`, `a b`; write 'true'\n"  # noqa: E501
                "    lr == True\n          ~~~^"
            ),
        ),
        (
            "ema > 1",
            (
                "no metric is named 'ema'; the nearest are `a b`, val/acc, _step, val/loss, `grad-norm`; "
                "the function is written ema(x, alpha)\n    ema > 1\n    ~~^"
            ),
        ),
        (
            "loss/acuracy",
            (
                "no metric is named 'loss/acuracy'; the nearest are val/acc, loss, val/loss, train/loss, lr; "
                "put spaces around a slash that divides\n    loss/acuracy\n    ~~~~~~~~~~~^"
            ),
        ),
        (
            "`loss/2`",
            (
                "no metric is named 'loss/2'; the nearest are loss, val/loss, train/loss, val/acc, lr\n"
                "    `loss/2`\n    ~~~~~~~^"
            ),
        ),
    ],
)
def test_an_unknown_name_is_told_with_the_five_nearest(text: str, message: str) -> None:
    with pytest.raises(UnknownNameError) as caught:
        compile_expression(text, METRICS)
    assert str(caught.value) == message
    assert isinstance(caught.value, MetricNotFoundError)
    assert caught.value.exit_code == 3
    assert caught.value.source == text


@pytest.mark.parametrize("text", ["config.lr > 1", "state == 1", "summary.val/loss < 1", "duration > 60"])
def test_a_value_of_runs_in_an_expression_about_rows_is_named_with_the_options_for_it(text: str) -> None:
    name = text.split(maxsplit=1)[0]
    with pytest.raises(UnknownNameError) as caught:
        compile_expression(text, METRICS)
    assert str(caught.value).startswith(
        f"no metric is named '{name}': it is a value of runs, and this expression is about rows; "
        f"choose runs with --filter, and compute one value per run with compare --column\n    {text}\n"
    )
    assert compile_expression(text, [*METRICS, name]).names == {name}


def test_metadata_that_no_run_has_is_not_answered_with_other_names() -> None:
    message = (
        "no run column is named 'metadata.gpu': these runs have no metadata; "
        "their logs do not contain it, or it was removed with --redact\n    metadata.gpu > 1\n"
    )
    with pytest.raises(UnknownNameError) as caught:
        compile_expression("metadata.gpu > 1", ["config.lr", "state"], what="run column")
    assert str(caught.value).startswith(message)
    with pytest.raises(UnknownNameError, match="the nearest are metadata"):
        compile_expression("metadata.gpu > 1", ["config.lr", "metadata.gpu_count"], what="run column")


def test_an_unknown_name_among_no_columns_names_none() -> None:
    with pytest.raises(UnknownNameError) as caught:
        compile_expression("state", [], what="field")
    assert caught.value.message == "no field is named 'state'"


def test_a_name_with_control_characters_stays_on_its_line() -> None:
    with pytest.raises(UnknownNameError) as caught:
        compile_expression("los", ["loss\n\x1b[31m"])
    assert caught.value.message == r"no metric is named 'los'; the nearest is `loss\n\x1b[31m`"


def test_a_name_of_very_many_slashes_is_no_division() -> None:
    compile_expression("a" + "/a" * MAX_SLASHES, ["a"])
    with pytest.raises(UnknownNameError):
        compile_expression("a" + "/a" * (MAX_SLASHES + 1), ["a"])


def test_a_part_that_no_float64_holds_is_no_number() -> None:
    with pytest.raises(UnknownNameError):
        compile_expression("loss/1e999", METRICS)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "contains(loss, 1)",
            (
                "there is no function 'contains'; write it between the two: 'x contains \"text\"'\n"
                "    contains(loss, 1)\n    ~~~~~~~^"
            ),
        ),
        (
            "startswith(loss, 'a')",
            (
                "there is no function 'startswith'; write it between the two: 'x starts_with \"text\"'\n"
                "    startswith(loss, 'a')\n    ~~~~~~~~~^"
            ),
        ),
    ],
)
def test_a_search_written_as_a_call_is_answered_with_how_it_is_written(text: str, message: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        compile_expression(text, METRICS)
    assert str(caught.value) == message


def test_a_reduction_without_its_argument_is_answered_with_how_it_is_written() -> None:
    with pytest.raises(UnknownNameError) as caught:
        compile_expression("mean > 1", ["loss"])
    assert str(caught.value) == (
        "no metric is named 'mean'; the nearest is loss; the function is written mean(x)\n"
        "    mean > 1\n    ~~~^"
    )


def test_a_reduction_by_step_reads_the_steps() -> None:
    assert compile_expression("auc(loss) / slope(lr, 5)", METRICS).names == {"loss", "lr", "_step"}
    assert compile_expression("mean(loss) + count(lr)", METRICS).names == {"loss", "lr"}
