//! Mail, to real servers: one from npm and one from `PyPI`.

use std::path::{Path, PathBuf};

use entitlements_admin::{Config, clock::Clock};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    clients::{BOTH, Language, Program},
    desk::{Desk, at, local},
};

/// A certificate for `localhost`, and its key, in files.
struct Certificate {
    _folder: TempDir,
    cert: PathBuf,
    key: PathBuf,
}

impl Certificate {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
        std::fs::write(&cert, made.cert.pem()).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        Self { _folder: folder, cert, key }
    }

    fn trusted(&self, folder: &Path) -> Config {
        Config { extra_ca: Some(self.cert.clone()), ..local(folder) }
    }
}

const PASSWORD: &str = "smtp-password-hush";

struct Post {
    desk: Desk,
    server: Program,
    _certificate: Certificate,
}

/// A desk that writes to a server in a mode.
async fn post(language: Language, mode: &str, secure: bool) -> Option<Post> {
    let certificate = Certificate::new();
    let tls = json!({ "cert": certificate.cert, "key": certificate.key });
    let auth = json!({ "user": "entitlements", "password": PASSWORD });
    let setup = json!({ "mode": mode, "tls": secure.then_some(tls), "auth": secure.then_some(auth),
        "require_tls": secure });
    let (server, said) = Program::ready(language, "smtp", Some(&setup)).await?;
    let clock = Clock::manual(at("2026-03-02T10:00:00Z"));
    let desk = Desk::with_clock(|folder| certificate.trusted(folder), clock).await;
    desk.prepare().await;
    desk.work().await;
    let kind = json!({ "email": { "host": "localhost", "port": said["port"],
        "security": if secure { "starttls" } else { "plain" },
        "from": "Entitlements <entitlements@example.com>" } });
    let credentials = match secure {
        true => json!({ "user": "entitlements", "password": PASSWORD }),
        false => json!({}),
    };
    desk.connect("mail", kind, credentials).await;
    Some(Post { desk, server, _certificate: certificate })
}

#[tokio::test]
async fn a_mail_arrives_as_text_and_page_in_its_thread_over_tls() {
    for language in BOTH {
        let Some(Post { desk, mut server, _certificate }) = post(language, "ok", true).await else {
            return;
        };
        let draft = desk.submit("Frühling `x` <b>\u{1f600}").await;
        assert_eq!(desk.work().await, 1);
        let first = server.said().await;
        assert_eq!((&first["tls"], &first["user"]), (&true.into(), &"entitlements".into()));
        assert_eq!(first["to"], json!(["ops@example.com"]), "to the team");
        assert_eq!(first["subject"], "Frühling `x` <b>\u{1f600} waits for approval");
        let (text, html) = (first["text"].as_str().unwrap(), first["html"].as_str().unwrap());
        assert!(text.contains("asks for approval of the draft"), "{text}");
        assert!(html.contains("<code>") && !html.contains("<b>"), "{html}");
        let headers = &first["headers"];
        assert_eq!(headers["auto-submitted"], "auto-generated");
        assert!(headers["list-id"].as_str().unwrap().contains("events.entitlements.example.com"));
        let delivery = desk.deliveries("").await[0]["id"].as_str().unwrap().to_owned();
        assert_eq!(first["message_id"], format!("<{delivery}@example.com>"));

        desk.withdraw(&draft).await;
        desk.work().await;
        let second = server.said().await;
        assert_eq!(second["headers"]["in-reply-to"], first["message_id"]);
        assert_eq!(second["headers"]["references"], first["message_id"]);
    }
}

#[tokio::test]
async fn a_server_that_is_busy_or_refuses_is_told_apart() {
    for language in BOTH {
        for (mode, stage, code) in [("busy", "pending", "451"), ("refuse", "refused", "550")] {
            let Some(post) = post(language, mode, false).await else { return };
            let desk = &post.desk;
            desk.submit("Spring").await;
            desk.work().await;
            let delivery = &desk.deliveries("").await[0];
            assert_eq!(delivery["stage"], stage, "{language:?} {delivery}");
            assert!(delivery["detail"].as_str().unwrap().contains(code), "{delivery}");
        }
    }
}

#[tokio::test]
async fn a_server_that_takes_a_mail_and_goes_silent_gets_the_same_mail_again() {
    for language in BOTH {
        let Some(Post { desk, mut server, _certificate }) = post(language, "stall", false).await
        else {
            return;
        };
        desk.submit("Spring").await;
        // Nobody waits half a minute here: whoever sends goes away once the server has it all.
        let mut ids = Vec::new();
        for round in 0..2 {
            tokio::select! {
                _ = desk.work() => panic!("the server is silent"),
                said = server.said() => ids.push(said["message_id"].clone()),
            }
            desk.pass(120);
            assert_eq!(desk.deliveries("stage=pending").await.len(), 1, "round {round}");
            // Another process has no connections that are open: nor has another setup.
            let mut connector = desk.get("/v1/connectors/mail").await;
            connector["kind"]["email"]["to"] = json!(["ops@example.com"]);
            let connector = json!({ "name": "x", "kind": connector["kind"] });
            desk.put("/v1/connectors/mail", &connector).await;
        }
        assert_eq!(ids[0], ids[1], "whoever reads mail knows it again");
    }
}

#[tokio::test]
async fn a_wrong_password_or_no_tls_can_be_put_right() {
    let Some(Post { desk, mut server, _certificate }) = post(Language::Node, "ok", true).await
    else {
        return;
    };
    let connector = desk.get("/v1/connectors/mail").await;
    let put = async |credentials: Value, security: &str| {
        let mut kind = connector["kind"].clone();
        kind["email"]["security"] = security.into();
        let connector = json!({ "name": "x", "kind": kind, "credentials": credentials });
        desk.put("/v1/connectors/mail", &connector).await;
    };
    put(json!({ "user": "entitlements", "password": "wrong" }), "starttls").await;
    desk.submit("Spring").await;
    desk.work().await;
    let waiting = desk.deliveries("stage=pending").await;
    assert!(waiting[0]["detail"].as_str().unwrap().contains("535"), "{waiting:?}");
    put(json!({}), "plain").await;
    desk.pass(10);
    desk.work().await;
    let waiting = desk.deliveries("stage=pending").await;
    assert!(waiting[0]["detail"].as_str().unwrap().contains("530"), "{waiting:?}");
    put(json!({ "user": "entitlements", "password": PASSWORD }), "starttls").await;
    desk.pass(600);
    desk.work().await;
    assert_eq!(server.said().await["subject"], "Spring waits for approval");
}

#[tokio::test]
async fn a_digest_goes_out_once_a_day() {
    let Some(Post { desk, mut server, _certificate }) = post(Language::Python, "ok", false).await
    else {
        return;
    };
    let route = json!({ "events": ["*"], "team": "ops", "connector": "mail",
        "gather": { "daily": { "at": "08:00", "time_zone": "Europe/Berlin" } } });
    desk.put("/v1/routes/to-mail", &route).await;
    desk.submit("One").await;
    desk.work().await;
    desk.pass(3_600);
    desk.submit("Two").await;
    desk.work().await;
    desk.clock.advance(at("2026-03-03T06:59:59Z"));
    assert_eq!(desk.work().await, 0);
    desk.clock.advance(at("2026-03-03T07:00:00Z"));
    assert_eq!(desk.work().await, 1);
    let said = server.said().await;
    assert_eq!(said["subject"], "2 messages: One waits for approval, …");
    assert!(said["text"].as_str().unwrap().contains("• Two waits for approval"), "{said}");
}

#[tokio::test]
async fn nobody_writes_into_the_head_of_a_mail() {
    let Some(Post { desk, mut server, _certificate }) = post(Language::Node, "ok", false).await
    else {
        return;
    };
    let acme = json!({ "name": "Acme\r\nBcc: eve@example.com\r\n\r\nhello", "subscriptions": [
        { "plan": "pro", "trial": true, "window": { "until": "2026-03-09T10:00:01Z" } }] });
    desk.put("/v1/tenants/acme", &acme).await;
    desk.work().await;
    desk.pass(1);
    desk.work().await;
    let said = server.said().await;
    assert_eq!(said["to"], json!(["ops@example.com"]));
    let raw = said["raw"].as_str().unwrap();
    let head = raw.split("\r\n\r\n").next().unwrap();
    assert!(!head.lines().any(|line| line.to_lowercase().starts_with("bcc")), "{head}");
}
