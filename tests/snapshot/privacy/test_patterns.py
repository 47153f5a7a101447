"""What counts as a secret or as personal data, and above all what does not."""

from __future__ import annotations

import re

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pull_logs.snapshot.privacy.patterns import (
    HINT,
    KINDS,
    MARKER,
    SECRETS,
    TEXT_HINT,
    Span,
    find_spans,
    key_kind,
    marker,
    masked,
    redact_text,
)

KEY40 = "5f1d7a9c0b3e8246fd7a19c05b3e8d24a6f91c07"
ISSUED = [
    "wandb_v1_" + "Ab3dE5gH7jK9mN1pQ3sT",
    "gsk_" + "Ab3dE5gH7jK9mN1pQ3sT" * 2 + "uVwXyZ012345",
    "r8_" + "Ab3dE5gH7jK9mN1pQ3sT" + "uVwXyZ01234567890",
    "xai-" + "Ab3dE5gH7jK9mN1pQ3sT" * 4,
    "pplx-" + "Ab3dE5gH7jK9mN1pQ3sT" * 2,
    "SG." + "Ab3dE5gH7jK9mN1pQ3sTuV" + "." + "Ab3dE5gH7jK9mN1pQ3sT" * 2 + "abc",
    "dop_v1_" + "0123456789abcdef" * 4,
    "hvs." + "Ab3dE5gH7jK9mN1pQ3sTuVwX",
    "lsv2_pt_" + "0123456789abcdef" * 2 + "_0123456789",
    "nvapi-" + "Ab3dE5gH7jK9mN1pQ3sT" * 3,
    "pcsk_" + "Ab3dE5gH7jK9mN1pQ3sT" * 2,
    "lin_api_" + "Ab3dE5gH7jK9mN1pQ3sT" * 2,
    "tskey-auth-" + "k123456CNTRL" + "-" + "Ab3dE5gH7jK9mN1pQ3sT",
    "ntn_" + "Ab3dE5gH7jK9mN1pQ3sT" * 2,
    "1234567890:AA" + "Ab3dE5gH7jK9mN1pQ3sTuVwXyZ0123456",
    "eyJhcGlfYWRkcmVzcyI6" + "Ab3dE5gH7jK9mN1pQ3sT" * 3,
]
"""Keys in the formats of their issuers."""

HEX40 = "9f8e7d6c5b4a39281706f5e4d3c2b1a0deadc0de"
RANDOM = "q7Zt3KpX9vLm2RbN8sYc5WdHx4Gf6JaT1eUo"
PEM = f"-----BEGIN RSA PRIVATE KEY-----\n{RANDOM}\n-----END RSA PRIVATE KEY-----"
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9P"

FOUND: list[tuple[str, str, str]] = [
    (f"key wandb_v1_{RANDOM}", "api-key", f"wandb_v1_{RANDOM}"),
    (f"wandb login --relogin {HEX40}", "api-key", HEX40),
    (f"WANDB_API_KEY={HEX40} python train.py", "secret", HEX40),
    (f"local-{HEX40}", "api-key", f"local-{HEX40}"),
    (f"sk-proj-{RANDOM}", "api-key", f"sk-proj-{RANDOM}"),
    (f"sk-{RANDOM}", "api-key", f"sk-{RANDOM}"),
    (f"sk-ant-api03-{RANDOM}", "api-key", f"sk-ant-api03-{RANDOM}"),
    (f"hf_{RANDOM}", "api-key", f"hf_{RANDOM}"),
    ("id AKIAQ7ZT3KPX9VLM2RBN.", "api-key", "AKIAQ7ZT3KPX9VLM2RBN"),
    (f"ghp_{RANDOM}", "api-key", f"ghp_{RANDOM}"),
    (f"https://{RANDOM}@github.com/a/b", "password", RANDOM),
    (f"https://x:ghp_{RANDOM}@github.com/a/b", "api-key", f"ghp_{RANDOM}"),
    (f"AIza{RANDOM[:35]}", "api-key", f"AIza{RANDOM[:35]}"),
    ("xoxb-123456789012-abcDEF", "api-key", "xoxb-123456789012-abcDEF"),
    (f"https://hooks.slack.com/services/{RANDOM}", "api-key", RANDOM),
    (f"see {PEM} there", "private-key", PEM),
    (PEM[:40], "private-key", PEM[:40]),
    (f"cookie {JWT}", "jwt", JWT),
    (f"Authorization: Bearer {RANDOM}", "bearer-token", RANDOM),
    ("postgres://jo:hunter2@db/x", "password", "hunter2"),
    ("machine api.wandb.ai login user password hunter2", "password", "hunter2"),
    ("run with --password hunter2 now", "password", "hunter2"),
    ("password=letmein", "password", "letmein"),
    (f"api_key: '{RANDOM}'", "secret", RANDOM),
    (
        "https://b.s3.amazonaws.com/k?X-Amz-Expires=9&X-Amz-Signature=ab12",
        "signed-url",
        "X-Amz-Expires=9&X-Amz-Signature=ab12",
    ),
    (f"https://a.blob.core/c?sv=2020&sig={RANDOM}", "signed-url", f"sv=2020&sig={RANDOM}"),
    *[
        (text.format(KEY40), "api-key", KEY40)
        for text in (
            "--use_wandb {}",
            "use_wandb={}",
            "logger.wandb={}",
            "wandb.login(key='{}')",
            "wandb: Paste an API key from your profile: {}",
            "W&B key {}",
            "{{'use_wandb': '{}'}}",
            "Weights & Biases: {}",
        )
    ],
    *[(f"with {key}.", "api-key", key) for key in ISSUED],
    ("by Jo <jo.doe@corp.co.uk>", "email", "jo.doe@corp.co.uk"),
    ("/home/jdoe/code/train.py", "home-path", "jdoe"),
    ("PATH=/usr/bin:/nfs/home/jdoe/bin", "home-path", "jdoe"),
    ("file:///Users/Jo/x", "home-path", "Jo"),
    ("C:\\Users\\Jo\\x", "home-path", "Jo"),
    ("tcp://10.3.4.5:29500", "ip-address", "10.3.4.5"),
    ("at 192.168.7.1", "ip-address", "192.168.7.1"),
    ("fe80::1ff:fe23:4567:890a", "ip-address", "fe80::1ff:fe23:4567:890a"),
]

CALM = [
    *[
        text.format(HEX40)
        for text in (
            "wandb.git.commit={}",
            "wandb_commit: {}",
            "commit_wandb: {}",
            "wandb @ git+https://github.com/wandb/wandb.git@{}",
            "https://github.com/wandb/wandb/commit/{}",
            "wandb sha1 {}",
            "wandb/artifacts/obj/{}",
            "wandb: Run data is saved locally\n{}",
            "wandb-artifact://{}/model.pt",
            "wandb.run_id={}",
            "--wandb_group {}",
        )
    ],
    "gsk_" + "x" * 52,
    HEX40,
    f"commit {HEX40}",
    "d41d8cd98f00b204e9800998ecf8427e",
    "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "3fk2a9xz",
    "123e4567-e89b-42d3-a456-426614174000",
    "acme/nano/3fk2a",
    "wandb-artifact://acme/nano/model:v3",
    "hf-internal-testing/tiny-random-gpt2",
    "hf_transformers_bert_base_uncased_finetuned",
    "meta-llama/Llama-3.1-8B-Instruct",
    "s3://bucket/datasets/imagenet-1k/train-{000000..001281}.tar",
    "https://wandb.ai/acme/nano/runs/3fk2a?workspace=user-jo",
    "https://huggingface.co/datasets/wikitext?row=5",
    "git@github.com:acme/nano.git",
    "torch==2.1.0.4 nvidia-cudnn-cu12==8.9.2.26",
    "535.104.05",
    "12.1.0.26",
    "v1.2.3.4",
    "http://127.0.0.1:8080 and 0.0.0.0",
    "12:34:56",
    "aa:bb:cc:dd:ee:ff",
    "std::vector<int>",
    "mAP@0.5:0.95",
    "recall@10",
    "hits@1.v2.10",
    "noreply@github.com",
    "jo@example.com",
    "/home/runner/work",
    "/home/$USER/x",
    "https://site.com/home/index",
    "/root/.cache",
    "the token is a word, the password reset too",
    "password: ${DB_PASSWORD}",
    "token=null",
    "sk-xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
    "sk-learn-pipeline-with-a-very-long-name-here",
    "task-0123456789abcdef0123456789abcdef",
    "optimizer=adamw lr=0.0003 key=value",
    "MASTER_ADDR=localhost",
    "eyJhbGciOiJIUzI1NiJ9",
    "-----BEGIN CERTIFICATE-----",
    "[redacted: api-key]",
]

CALM_KEYS = [
    *[
        (key, HEX40)
        for key in (
            "wandb_commit",
            "wandb_sha1",
            "wandb_run_id",
            "wandbVersion",
            "wandb_group",
            "wandb_cache_md5",
        )
    ],
    ("use_wandb", "0" * 40),
    ("use_wandb", f"x{HEX40}"),
    ("tokenizer", "gpt2-bpe-32k-0123456789"),
    ("pad_token", "<|reserved_special_token_0|>"),
    ("eos_token", "token_0123456789_eos"),
    ("max_tokens", "16384_tokens_per_batch_01"),
    ("token", "bert"),
    ("secret", "no"),
    ("sort_key", "0123456789abcdefghij"),
    ("password", "none"),
    ("password", "${DB_PASSWORD}"),
    ("token_path", "x9/0123456789abcdefghij"),
    ("api_key", "/run/secrets/key0123456789"),
    ("auth", "basic"),
    ("key", HEX40),
    ("git_commit", HEX40),
    ("dataset_hash", HEX40),
    ("hostname", "localhost"),
    ("username", "root"),
    ("host", "gpu-07"),
    ("cudnn_version", "10.9.2.26"),
]

FOUND_KEYS = [
    *[(key, KEY40, "api-key") for key in ("use_wandb", "--use-wandb", "wandb", "wandb_login", "W&B")],
    ("api_key", HEX40, "secret"),
    ("apiKey", RANDOM, "secret"),
    ("WANDB_API_KEY", HEX40, "secret"),
    ("hf.token", RANDOM, "secret"),
    ("--auth-token", RANDOM, "secret"),
    ("aws_secret_access_key", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYzzAMPLEKEY", "secret"),
    ("db_password", "hunter2", "password"),
    ("dbPassword", "correct horse", "password"),
    ("hostname", "gpu-07", "host-name"),
    ("username", "jdoe", "user-name"),
]

PIECES = st.one_of(
    st.sampled_from(
        [text for text, _, _ in FOUND]
        + [part for _, _, part in FOUND]
        + CALM
        + [marker(kind) for kind in KINDS]
    ),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    st.text("ab1/:.@-_=?& \n\"'$home", max_size=12),
)
TEXTS = st.lists(PIECES, max_size=5).flatmap(
    lambda parts: st.sampled_from(["", " ", "/", "=", ":", "@", "\n"]).map(lambda glue: glue.join(parts))
)
NAMES = st.sampled_from(["", *(name for name, _, _ in FOUND_KEYS), *(name for name, _ in CALM_KEYS)])


@given(TEXTS, NAMES, st.booleans())
def test_after_redaction_nothing_is_found_and_nothing_changes_again(
    text: str,
    key: str,
    machine: bool,  # noqa: FBT001
) -> None:
    redacted = redact_text(text, key=key, machine=machine)
    assert find_spans(redacted, key=key, machine=machine) == []
    assert redact_text(redacted, key=key, machine=machine) == redacted


@given(TEXTS, NAMES, st.sets(st.sampled_from(KINDS)))
def test_spans_are_apart_in_order_and_of_the_given_kinds(text: str, key: str, kinds: set[str]) -> None:
    spans = find_spans(text, key=key, kinds=kinds)
    ends = [0, *(span.end for span in spans)]
    for span, before in zip(spans, ends, strict=False):
        assert before <= span.start < span.end <= len(text)
        assert span.kind in kinds


@given(TEXTS)
def test_what_stays_is_what_was_there(text: str) -> None:
    redacted = redact_text(text)
    rest = iter(text)
    assert all(char in rest for char in MARKER.sub("", redacted))


@given(TEXTS)
def test_a_text_without_a_hint_has_nothing_to_find(text: str) -> None:
    if not re.search(HINT, text):
        assert find_spans(text) == []


def worth_a_look(text: str) -> bool:
    """Whether the hint for plain texts holds, in both engines that are asked."""
    answers = {
        bool(re.search(TEXT_HINT, text)),
        pc.match_substring_regex(pa.array([text]), TEXT_HINT)[0].as_py(),
    }
    return answers == {True}


@given(TEXTS)
def test_a_text_without_the_narrow_hint_has_nothing_to_find_under_a_key_without_a_kind(text: str) -> None:
    if not worth_a_look(text):
        assert find_spans(text, key="note") == []


@pytest.mark.parametrize("text", [text for text, _, _ in FOUND])
def test_every_known_shape_is_worth_a_look(text: str) -> None:
    assert worth_a_look(text)


@pytest.mark.parametrize(
    "text", ["user 12 says hi at 12:34:56", "the secret of a token", "mAP@0.5:0.95", "1.2.3"]
)
def test_what_texts_usually_say_is_not_looked_at_twice(text: str) -> None:
    assert not worth_a_look(text)


@given(TEXTS, NAMES)
def test_a_mask_does_not_give_away_what_it_masks(text: str, key: str) -> None:
    for span in find_spans(text, key=key):
        secret = text[span.start : span.end]
        shown = masked(secret, span.kind).removesuffix(f"({len(secret)} characters)")
        if len(secret) > 4 and span.kind != "email":
            assert secret not in shown
            assert len(shown.replace("*", "").strip()) <= (4 if span.kind in SECRETS else 1)


@pytest.mark.parametrize(("text", "kind", "part"), FOUND)
def test_a_known_shape_is_found_and_no_more_than_it(text: str, kind: str, part: str) -> None:
    start = text.index(part)
    assert find_spans(text) == [Span(start, start + len(part), kind)]
    assert redact_text(text) == text.replace(part, f"[redacted: {kind}]")


@pytest.mark.parametrize("text", CALM)
def test_what_runs_usually_hold_is_left_alone(text: str) -> None:
    assert find_spans(text) == []


@pytest.mark.parametrize(("key", "value"), CALM_KEYS)
def test_a_key_that_only_sounds_secret_hides_nothing(key: str, value: str) -> None:
    assert find_spans(value, key=key) == []


@pytest.mark.parametrize(("key", "value", "kind"), FOUND_KEYS)
def test_a_key_says_what_its_value_is(key: str, value: str, kind: str) -> None:
    assert find_spans(value, key=key) == [Span(0, len(value), kind)]


def test_host_and_user_are_names_only_in_documents_of_a_machine() -> None:
    assert key_kind("host") is None
    assert key_kind("host", machine=True) == "host-name"
    assert find_spans("gpu-07", key="host", machine=True) == [Span(0, 6, "host-name")]
    assert find_spans("jdoe", key="user", machine=True) == [Span(0, 4, "user-name")]


@pytest.mark.parametrize(
    ("text", "kind", "shown"),
    [
        (f"hf_{RANDOM}", "api-key", f"hf_q*** ({len(RANDOM) + 3} characters)"),
        ("hunter2", "password", "*** (7 characters)"),
        ("jo@corp.com", "email", "j***@corp.com"),
        ("jdoe", "user-name", "j***"),
        ("jo", "user-name", "***"),
        ("10.3.4.5", "ip-address", "1***"),
    ],
)
def test_a_mask_shows_what_kind_of_thing_it_is(text: str, kind: str, shown: str) -> None:
    assert masked(text, kind) == shown


def test_long_texts_take_a_time_that_grows_with_them() -> None:
    for piece in (
        "a",
        "a.",
        "/home",
        "x@",
        "=a ",
        "sk-",
        "1.",
        "a:",
        "https://a?",
        "--key ",
        "eyJ.",
        "-----BEGIN ",
    ):
        assert len(redact_text(piece * (20_000 // len(piece)))) > 0
