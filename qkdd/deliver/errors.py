"""Answers other than 200, as ETSI GS QKD 014 words them where it does."""

import msgspec

from qkdd.deliver.messages import ErrorBody

NOT_FOUND = "one or more keys specified are not found on KME"
NOT_A_BYTE = "size shall be a multiple of 8"
UNSUPPORTED = "not all extension_mandatory parameters are supported"
UNMET = "not all extension_mandatory request options could be met"


class HttpError(Exception):
    """An answer other than 200; its text is for the client and holds no secret."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        details: list[dict[str, str]] | None = None,
        allow: str = "",
        retry_after_s: int | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.allow = allow
        self.retry_after_s = retry_after_s
        self.body = msgspec.json.encode(ErrorBody(message=message, details=details or []))


def unmet(name: str, why: str) -> HttpError:
    """Refuse a mandatory extension that is known and cannot be honoured (clause 6.2)."""
    return HttpError(400, UNMET, details=[{"extension_mandatory_unmet": f"{name}: {why}"[:300]}])
