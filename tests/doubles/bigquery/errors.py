"""What the stand-in says when it refuses: BigQuery's reasons and the statuses they travel under."""

from __future__ import annotations

STATUS = {
    "accessDenied": 403,
    "backendError": 503,
    "billingNotEnabled": 403,
    "bytesBilledLimitExceeded": 400,
    "conditionNotMet": 412,
    "duplicate": 409,
    "internalError": 500,
    "invalid": 400,
    "invalidQuery": 400,
    "notFound": 404,
    "quotaExceeded": 403,
    "rateLimitExceeded": 403,
}


class Refused(Exception):
    """An answer other than yes."""

    def __init__(self, reason, message):
        super().__init__(message)
        self.reason = reason
        self.message = message

    @property
    def status(self):
        return STATUS[self.reason]

    @property
    def proto(self):
        return {"reason": self.reason, "message": self.message, "location": ""}

    @property
    def body(self):
        return {
            "error": {
                "code": self.status,
                "message": self.message,
                "errors": [{**self.proto, "domain": "global"}],
                "status": self.reason,
            }
        }
