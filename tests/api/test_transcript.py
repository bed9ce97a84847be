"""The transcript: shapes of responses and files, without anything of a user."""

import json
from pathlib import Path

import pytest

from tap_barchart_events.api.transcript import file_form, headers_form, response_form

SECRETS = ("hunter2", "Zoë", "alice@example.org", "p4ss-WORD", "秘密", "Абв")


def test_a_response_keeps_structure_numbers_dates_and_codes() -> None:
    body = {
        "source": "JOB-1",
        "status": "RUNNING",
        "timing": {"day": "2026-03-02", "start": 1772409600000},
        "filter": {"customer": "TGAM", "product": "WATCHLIST", "types": ["ALERT-CREATED", "NEW"]},
        "value": {"code": "EVENT_JOB_GET_FAILED", "message": "Job of alice failed."},
        "done": False,
        "link": "https://bucket.s3.amazonaws.com/a/alice.csv.gz?X-Amz-Signature=abc&x=",
    }
    headers, _, shape = response_form({"Retry-After": "5"}, json.dumps(body).encode()).partition(
        " {"
    )
    assert headers == '{"Retry-After": "5"}'
    assert json.loads("{" + shape) == {
        "source": "5 characters",
        "status": "RUNNING",
        "timing": {"day": "2026-03-02", "start": 1772409600000},
        "filter": {
            "customer": "4 characters",
            "product": "WATCHLIST",
            "types": ["ALERT-CREATED", "3 characters"],
        },
        "value": {"code": "EVENT_JOB_GET_FAILED", "message": "20 characters"},
        "done": False,
        "link": "https://bucket.s3.amazonaws.com/….csv.gz?X-Amz-Signature&x",
    }


@pytest.mark.parametrize("secret", SECRETS)
def test_no_text_of_a_response_is_shown(secret: str) -> None:
    texts = [
        secret,
        f"https://host/{secret}/f.csv?Signature={secret}",
        f"https://host/f.{secret}?{secret}",
        f"https://[{secret}/",
        f"x://{secret} of a town",
        f"see https://host/x? {secret}",
    ]
    for text in texts:
        body = {"status": text, "code": text, "any": [text, {"message": text}]}
        shown = response_form(
            dict.fromkeys(("ETag", "Location", "Content-Type", "X-Own", "Date"), text),
            json.dumps(body).encode(),
        )
        assert secret not in shown
        assert repr(secret)[1:-1] not in shown
    assert secret not in response_form({}, f"<html>{secret}".encode())


def test_headers_with_known_values_are_kept() -> None:
    headers = {
        "Content-Type": "text/csv; charset=UTF-8",
        "Date": "Mon, 02 Mar 2026 00:00:00 GMT",
        "Content-Range": "bytes 0-99/100",
        "ETag": '"abc-1"',
        "Set-Cookie": "a=b",
    }
    shown = headers_form(headers)
    del headers["Set-Cookie"]
    assert json.loads(shown) == headers | {"ETag": '"aaa-9"'}


def test_a_file_keeps_known_names_and_the_places_of_its_signs(tmp_path: Path) -> None:
    file = tmp_path / "export"
    file.write_bytes(b'timestamp|type|userId\r\n1772409600000|ALERT-CREATED|"Zo\xc3\xab 7.5"\r\n')
    assert file_form(file, "|") == (
        "63 bytes, begins as text; its first 2 lines hold 2 line feeds, 2 carriage returns and 2 "
        "quotes; fields by '|' → lines: {3: 2}; first and last: "
        """['timestamp|type|userId', '9999999999999|ALERT-CREATED|"aaa 9.9"']"""
    )


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize(
    ("sign", "how"),
    [(b"", "as text"), (b"\xef\xbb\xbf", "with a byte order mark"), (b"PK\x03\x04", "as ZIP")],
)
def test_no_value_of_a_file_is_shown(tmp_path: Path, secret: str, sign: bytes, how: str) -> None:
    file = tmp_path / "export"
    row = f"{secret}|WATCHLIST-CREATED-{secret}|{secret}x\n".encode()
    file.write_bytes(sign + row * 3_000)
    shown = file_form(file, "|")
    assert secret not in shown
    assert f"{3_000 * len(row) + len(sign):,} bytes" in shown
    assert f"begins {how}; its first 2,000 lines hold 2,000 line feeds" in shown
    assert "{3: 2000}" in shown
