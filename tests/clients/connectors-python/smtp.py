"""A real mail server, which prints every message that came in whole.

Its first argument is JSON: `mode` (`ok`, `busy` and `refuse` recipients, or `stall` after the
message), `tls` (paths of `cert` and `key`), `auth` (`user` and `password`), `require_tls`.
It prints its port. It ends when its input does, and so with whoever started it.
"""

import asyncio
import email
import json
import logging
import os
import ssl
import sys
import threading
import warnings
from email import policy

from aiosmtpd.smtp import SMTP, AuthResult
from lines import say

CONFIG = json.loads(sys.argv[1])
MODE = CONFIG.get("mode", "ok")
TLS = CONFIG.get("tls")
AUTH = CONFIG.get("auth")
REQUIRE_TLS = CONFIG.get("require_tls", False)
REPORTED = ["list-id", "in-reply-to", "references", "auto-submitted"]
HOUR = 3600


def header(message, name):
    """A header on one line: `None` where there is none, a list where there are more."""
    values = [str(value).strip() for value in message.get_all(name, [])]
    return values if len(values) > 1 else next(iter(values), None)


def body(message, kind):
    part = message.get_body((kind,))
    return part.get_content().replace("\r\n", "\n") if part else None


def report(raw, session, envelope):
    message = email.message_from_bytes(raw, policy=policy.default)
    say(
        {
            "from": envelope.mail_from,
            "to": envelope.rcpt_tos,
            "raw": raw.decode("utf-8", "replace"),
            "tls": session.ssl is not None,
            "user": session.auth_data,
            "message_id": header(message, "message-id"),
            "subject": header(message, "subject"),
            "text": body(message, "plain"),
            "html": body(message, "html"),
            "headers": {name: header(message, name) for name in REPORTED},
        }
    )


class Handler:
    async def handle_RCPT(self, _server, _session, envelope, address, _options):
        if MODE == "busy":
            return "451 busy, try again later"
        if MODE == "refuse":
            return "550 no such mailbox"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server, session, envelope):
        raw = envelope.original_content
        try:
            report(raw, session, envelope)
        except Exception as error:
            say({"error": repr(error), "raw": raw.decode("utf-8", "replace")})
        if MODE == "stall":
            await asyncio.sleep(HOUR)
        return "250 OK: taken"


def authenticate(_server, _session, _envelope, _mechanism, given):
    user, password = given.login.decode(), given.password.decode()
    right = AUTH is not None and (user, password) == (AUTH["user"], AUTH["password"])
    return AuthResult(success=right, handled=False, auth_data=user if right else None)


def certificate():
    if TLS is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(TLS["cert"], TLS["key"])
    return context


def serve():
    return SMTP(
        Handler(),
        hostname="localhost",
        tls_context=certificate(),
        require_starttls=REQUIRE_TLS,
        timeout=HOUR,
        auth_required=AUTH is not None,
        auth_require_tls=REQUIRE_TLS,
        auth_exclude_mechanism=None if AUTH else ["PLAIN", "LOGIN"],
        authenticator=authenticate,
        loop=asyncio.get_running_loop(),
    )


async def main():
    server = await asyncio.get_running_loop().create_server(serve, "127.0.0.1", 0)
    say({"ready": True, "port": server.sockets[0].getsockname()[1]})
    await server.serve_forever()


def end_with_input():
    sys.stdin.buffer.read()
    os._exit(0)


# A client that hangs up or refuses the certificate is no reason to say much, and passwords in the
# clear are what some tests are about.
logging.getLogger("mail.log").setLevel(logging.CRITICAL)
warnings.filterwarnings("ignore", module="aiosmtpd")
threading.Thread(target=end_with_input, daemon=True).start()
asyncio.run(main())
