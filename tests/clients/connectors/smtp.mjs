// A real mail server, which prints every message that came in whole.
//
// Its first argument is JSON: `mode` (`ok`, `busy` and `refuse` recipients, or `stall` after the
// message), `tls` (paths of `cert` and `key`), `auth` (`user` and `password`), `require_tls`.
// It prints its port. It ends when its input does, and so with whoever started it.

import { readFileSync } from "node:fs";
import { simpleParser } from "mailparser";
import { SMTPServer } from "smtp-server";
import { say } from "./lines.mjs";

const { mode = "ok", tls = null, auth = null, require_tls = false } = JSON.parse(process.argv[2]);
const REPORTED = ["list-id", "in-reply-to", "references", "auto-submitted"];

function refusal(code, text) {
  return Object.assign(new Error(text), { responseCode: code });
}

/** A header as it was sent, on one line: `null` where there is none, a list where there are more. */
function header(parsed, name) {
  const values = parsed.headerLines
    .filter(({ key }) => key === name)
    .map(({ line }) => line.slice(line.indexOf(":") + 1).replace(/\r?\n(?=[ \t])/g, "").trim());
  return values.length > 1 ? values : (values[0] ?? null);
}

async function report(raw, session) {
  // What is not in the message is not made up either.
  const parsed = await simpleParser(raw, { skipHtmlToText: true, skipTextToHtml: true, skipImageLinks: true });
  const { mailFrom, rcptTo } = session.envelope;
  say({
    from: mailFrom.address,
    to: rcptTo.map(({ address }) => address),
    raw: raw.toString("utf8"),
    tls: session.secure,
    user: session.user ?? null,
    message_id: parsed.messageId ?? null,
    subject: parsed.subject ?? null,
    text: parsed.text ?? null,
    html: parsed.html || null,
    headers: Object.fromEntries(REPORTED.map((name) => [name, header(parsed, name)])),
  });
}

const server = new SMTPServer({
  ...(tls && { cert: readFileSync(tls.cert), key: readFileSync(tls.key) }),
  hideSTARTTLS: !tls,
  disabledCommands: [...(tls ? [] : ["STARTTLS"]), ...(auth ? [] : ["AUTH"])],
  authMethods: ["PLAIN", "LOGIN"],
  allowInsecureAuth: !require_tls,
  disableReverseLookup: true,
  socketTimeout: 3_600_000,
  onAuth({ username, password }, _session, done) {
    if (username === auth.user && password === auth.password) done(null, { user: username });
    else done(refusal(535, "wrong user or password"));
  },
  onMailFrom(_address, session, done) {
    if (require_tls && !session.secure) done(refusal(530, "must issue a STARTTLS command first"));
    else done();
  },
  onRcptTo(_address, _session, done) {
    if (mode === "busy") done(refusal(451, "busy, try again later"));
    else if (mode === "refuse") done(refusal(550, "no such mailbox"));
    else done();
  },
  async onData(stream, session, done) {
    const chunks = [];
    for await (const chunk of stream) chunks.push(chunk);
    const raw = Buffer.concat(chunks);
    try {
      await report(raw, session);
    } catch (error) {
      say({ error: String(error), raw: raw.toString("utf8") });
    }
    if (mode !== "stall") done();
  },
});
// A client that hangs up or refuses the certificate is no reason to end.
server.on("error", (error) => console.error(String(error)));
server.listen(0, "127.0.0.1", () => say({ ready: true, port: server.server.address().port }));

process.stdin.on("end", () => process.exit(0)).resume();
