//! What webhooks get, verified by the libraries that receivers use.

use serde_json::{Value, json};

use crate::{
    clients::{BOTH, Program, verify},
    desk::{Desk, SECRET, local},
    receiver::{Asked, Receiver},
};

/// What a running control plane sends: with the time of this machine, as verifiers ask for it.
async fn sent(rotated: bool) -> (Asked, String) {
    let desk = Desk::with_clock(local, entitlements_admin::clock::Clock::default()).await;
    desk.prepare().await;
    desk.work().await;
    let receiver = Receiver::answering(200).await;
    desk.hook("hook", &receiver).await;
    let mut secret = SECRET.to_owned();
    if rotated {
        let answer = desk.client.post("/v1/connectors/hook/rotate", "{}").await;
        secret = answer.json()["secret"].as_str().unwrap().to_owned();
    }
    desk.submit("Frühling \"prices\"").await;
    desk.work().await;
    (receiver.asked().remove(0), secret)
}

fn headers(asked: &Asked) -> Value {
    json!({
        "webhook-id": asked.header("webhook-id"),
        "webhook-timestamp": asked.header("webhook-timestamp"),
        "webhook-signature": asked.header("webhook-signature"),
    })
}

#[tokio::test]
async fn the_libraries_of_receivers_accept_what_is_sent_and_nothing_else() {
    let (asked, _) = sent(false).await;
    let body = String::from_utf8(asked.body.to_vec()).unwrap();
    let good = headers(&asked);
    let timestamp: i64 = asked.header("webhook-timestamp").parse().unwrap();
    let id = asked.header("webhook-id");
    let secret = entitlements_outbound::webhook::Secret::parse(SECRET).unwrap();
    let at = |timestamp: i64| {
        let signature = secret.sign(id, timestamp, &asked.body);
        json!({ "webhook-id": id, "webhook-timestamp": timestamp.to_string(),
            "webhook-signature": signature })
    };
    let signature = asked.header("webhook-signature");
    let with = |name: &str, value: &str| {
        let mut headers = good.clone();
        headers[name] = value.into();
        headers
    };
    let other = entitlements_outbound::webhook::Secret::symmetric_text(&[9; 32]);
    let rows: Vec<(&str, &str, Value, String, bool)> = vec![
        ("as it is", SECRET, good.clone(), body.clone(), true),
        (
            "an unknown scheme first",
            SECRET,
            with("webhook-signature", &format!("v9,AAAA {signature}")),
            body.clone(),
            true,
        ),
        ("290 s ago", SECRET, at(timestamp - 290), body.clone(), true),
        ("310 s ago", SECRET, at(timestamp - 310), body.clone(), false),
        ("310 s ahead", SECRET, at(timestamp + 310), body.clone(), false),
        ("another secret", &other, good.clone(), body.clone(), false),
        ("a space more", SECRET, good.clone(), format!("{body} "), false),
        ("a letter changed", SECRET, good.clone(), body.replace("Fr", "fr"), false),
        ("another id", SECRET, with("webhook-id", "evt_other"), body.clone(), false),
        (
            "a second later",
            SECRET,
            with("webhook-timestamp", &(timestamp + 1).to_string()),
            body.clone(),
            false,
        ),
        ("an empty signature", SECRET, with("webhook-signature", "v1,"), body.clone(), false),
        (
            "a cut signature",
            SECRET,
            with("webhook-signature", &signature[..20]),
            body.clone(),
            false,
        ),
    ];
    for language in BOTH {
        let Some((mut program, _)) = Program::ready(language, "verify", None).await else { return };
        for (name, secret, headers, body, expected) in &rows {
            let said = verify(&mut program, secret, headers, body).await;
            assert_eq!(said.len(), 2);
            for verdict in said {
                assert_eq!(verdict == true, *expected, "{language:?}, {name}: {verdict}");
            }
        }
    }
}

#[tokio::test]
async fn a_receiver_may_know_the_old_secret_or_the_new_one_while_both_sign() {
    let (asked, new) = sent(true).await;
    let body = String::from_utf8(asked.body.to_vec()).unwrap();
    let both = headers(&asked);
    let first = asked.header("webhook-signature").split(' ').next().unwrap();
    let mut alone = both.clone();
    alone["webhook-signature"] = first.into();
    for language in BOTH {
        let Some((mut program, _)) = Program::ready(language, "verify", None).await else { return };
        for (secret, headers, expected) in [
            (SECRET, &both, true),
            (new.as_str(), &both, true),
            (new.as_str(), &alone, true),
            // Without the second signature whoever knows the old one is left out.
            (SECRET, &alone, false),
        ] {
            for verdict in verify(&mut program, secret, headers, &body).await {
                assert_eq!(verdict == true, expected, "{language:?}: {verdict}");
            }
        }
    }
}

#[tokio::test]
async fn a_pair_of_keys_signs_what_its_public_key_verifies() {
    use base64::{Engine, engine::general_purpose::STANDARD};
    use ed25519_dalek::{Signature, Verifier, VerifyingKey};
    let desk = Desk::with_acme().await;
    desk.work().await;
    let receiver = Receiver::answering(200).await;
    let kind =
        json!({ "webhook": { "url": receiver.url(), "handshake": false, "asymmetric": true } });
    let made = desk.put("/v1/connectors/pair", &json!({ "name": "x", "kind": kind })).await;
    let public = made["secret"].as_str().unwrap();
    assert!(public.starts_with("whpk_"), "{public}");
    assert_eq!(desk.get("/v1/connectors/pair").await["public_key"], public);
    desk.put("/v1/teams/ops", &json!({ "name": "Ops" })).await;
    desk.put("/v1/routes/x", &json!({ "events": ["*"], "team": "ops", "connector": "pair" })).await;
    desk.submit("Spring").await;
    desk.work().await;
    let asked = receiver.asked().remove(0);
    let key = STANDARD.decode(public.strip_prefix("whpk_").unwrap()).unwrap();
    let key = VerifyingKey::from_bytes(&key.try_into().unwrap()).unwrap();
    let signature = asked.header("webhook-signature").strip_prefix("v1a,").unwrap();
    let signature = Signature::from_slice(&STANDARD.decode(signature).unwrap()).unwrap();
    let signed = |body: &[u8]| {
        let head = format!("{}.{}.", asked.header("webhook-id"), asked.header("webhook-timestamp"));
        [head.as_bytes(), body].concat()
    };
    assert!(key.verify(&signed(&asked.body), &signature).is_ok());
    assert!(key.verify(&signed(b"{}"), &signature).is_err());
}
