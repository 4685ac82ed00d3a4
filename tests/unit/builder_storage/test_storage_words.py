"""What storage says, made fit for people to see."""

from __future__ import annotations

import pytest

from builder.storage.words import MAX_CHARACTERS, words_of

DENIED = """The operation lacked the necessary privileges to complete for path a/b: Error performing PUT
 http://storage/b?X-Amz-Signature=abc in 3ms - Server returned non-2xx status code: 403 Forbidden: <?xml version="1.0"?>
<Error><Code>SignatureDoesNotMatch</Code><Message>It &amp; the key AKIA123 do not match.</Message>
<AWSAccessKeyId>AKIA123</AWSAccessKeyId><StringToSign>AWS4-HMAC-SHA256</StringToSign></Error>

Debug source:
PermissionDenied { message: "no" }"""


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (DENIED, "it answered 403 SignatureDoesNotMatch: It & the key *** do not match."),
        ("HEAD failed - status code: 503 Service Unavailable: \n\nDebug source:\n x", "it answered 503"),
        ('Generic S3 error: x\n\nDebug source:\nOs { code: 111, message: "Connection refused" }', "Connection refused"),
        (
            "Error performing GET https://account/x?sv=1&sig=abc%3D in 3ms, failed",
            "Error performing GET https://account/x in 3ms, failed",
        ),
        ("cannot open https://user:password@host/x", "cannot open https://host/x"),
        ("error sending request\n\nDebug source:\n kind: Timeout,", "it did not answer in time"),
    ],
)
def test_words(text: str, words: str) -> None:
    assert words_of(Exception(text), secrets=("AKIA123", "")) == words


def test_words_are_few() -> None:
    assert len(words_of(Exception("x" * 1000), secrets=())) == MAX_CHARACTERS
