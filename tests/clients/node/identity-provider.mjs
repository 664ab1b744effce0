// A real identity provider, for the tests of signing in by one.
//
// It prints its address. `POST /test` changes what it does from then on, or what it does with the
// next ID token; see `Orders`. It ends when its input does, and so with whoever started it.

import { createServer } from "node:http";
import { generateKeyPair, exportJWK, importJWK, SignJWT } from "jose";
import Provider from "oidc-provider";

const REDIRECT_URI = process.argv[2];

const ACCOUNTS = {
  ada: { email: "Ada@Example.com", email_verified: true, name: "Ada Lovelace", groups: ["admins", "cooks"] },
  bob: { email: "bob@example.com", email_verified: false, name: "Bob", groups: ["admins"] },
  eve: { email: "eve@example.com", email_verified: true, name: "Eve", groups: ["cooks"] },
};

/** What `POST /test` may say, all of it optional. */
class Orders {
  /** Change the provider: its keys (anew), how it signs, whether the ID token says everything. */
  provider = null;
  /** Claims to put into the next ID token, which is then signed with the provider's own key. */
  claims = null;
  /** Sign the next ID token with a key that is nobody's, under a key id of this kind: `own`, `new`. */
  forge = null;
  /** Sign the next ID token not at all. */
  unsigned = false;
  /** Change one letter of the next ID token's claims, or of its signature. */
  flip = null;
}

let orders = new Orders();
let provider;
let keys;

async function build(issuer, { alg = "RS256", says_everything = false } = {}) {
  const pairs = await Promise.all(["RS256", "ES256"].map(async (alg) => {
    const { privateKey } = await generateKeyPair(alg, { extractable: true });
    return { ...(await exportJWK(privateKey)), alg, use: "sig", kid: crypto.randomUUID() };
  }));
  keys = Object.fromEntries(pairs.map((key) => [key.alg, key]));
  provider = new Provider(issuer, {
    clients: [{
      client_id: "entitlements",
      client_secret: "a secret that only the two know of, long enough for an HMAC",
      redirect_uris: [REDIRECT_URI],
      id_token_signed_response_alg: alg,
    }],
    claims: { email: ["email", "email_verified"], profile: ["name"], groups: ["groups"] },
    conformIdTokenClaims: !says_everything,
    cookies: { keys: ["for tests"] },
    enabledJWA: { idTokenSigningAlgValues: ["RS256", "ES256", "HS256"] },
    findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id, ...ACCOUNTS[id] }) }),
    jwks: { keys: pairs },
    ttl: { AccessToken: 3600, AuthorizationCode: 60, Grant: 3600, IdToken: 3600, Interaction: 3600, Session: 3600 },
  });
}

/** The ID token as it was ordered. */
async function ordered(token) {
  const { claims, forge, unsigned, flip } = orders;
  orders = new Orders();
  let [header, payload, signature] = token.split(".");
  if (claims || forge || unsigned) {
    const read = (part) => JSON.parse(Buffer.from(part, "base64url"));
    const { alg, kid } = read(header);
    const changed = { ...read(payload), ...claims };
    if (unsigned) {
      const none = Buffer.from(JSON.stringify({ alg: "none" })).toString("base64url");
      return `${none}.${Buffer.from(JSON.stringify(changed)).toString("base64url")}.`;
    }
    const own = await importJWK(keys[alg], alg);
    const key = forge ? (await generateKeyPair(alg)).privateKey : own;
    const signer = new SignJWT(changed).setProtectedHeader({ alg, kid: forge === "new" ? "new" : kid });
    [header, payload, signature] = (await signer.sign(key)).split(".");
  }
  // Not the last letter: some of its bits do not count.
  const other = (text) => text.slice(0, 20) + (text[20] === "A" ? "B" : "A") + text.slice(21);
  if (flip === "claims") payload = other(payload);
  if (flip === "signature") signature = other(signature);
  return [header, payload, signature].join(".");
}

/** Lets the provider answer, and puts the ID token in that was ordered. */
function tamper(response) {
  const end = response.end.bind(response);
  response.end = async (body) => {
    const answer = JSON.parse(body);
    if (answer.id_token) answer.id_token = await ordered(answer.id_token);
    const text = JSON.stringify(answer);
    response.setHeader("content-length", Buffer.byteLength(text));
    end(text);
  };
}

async function listen(request, response) {
  if (request.method === "POST" && request.url === "/test") {
    const parts = [];
    for await (const part of request) parts.push(part);
    orders = Object.assign(new Orders(), JSON.parse(Buffer.concat(parts)));
    if (orders.provider) await build(issuer, orders.provider);
    return response.writeHead(204).end();
  }
  if (request.url === "/token") tamper(response);
  return provider.callback()(request, response);
}

const server = createServer(listen);
await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
const issuer = `http://127.0.0.1:${server.address().port}`;
await build(issuer);
console.log(issuer);

process.stdin.resume();
process.stdin.on("end", () => process.exit());
