"""What the client raises."""

from schemas.errors import MillraceError


class GatewayUnreachable(MillraceError):
    """The gateway cannot be reached."""

    type = "gateway-unreachable"
    hint = "Is it up (`millrace up`), and MILLRACE_URL right?"
    transient = True


class StreamBroken(GatewayUnreachable):
    """The gateway ended a stream before its time."""

    type = "stream-broken"
    hint = "What was sent is kept; `millrace status` tells how far it is."


class GatewayError(MillraceError):
    """The gateway refused the request."""

    type = "gateway-error"

    def __init__(self, detail: str | None = None, *, problem_type: str = "", status: int = 0) -> None:
        super().__init__(detail)
        self.problem_type = problem_type
        self.status = status
