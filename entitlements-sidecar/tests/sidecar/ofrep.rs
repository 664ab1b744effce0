//! OFREP 0.3.0: every status, every kind of feature.

use hyper::Method;
use serde_json::{Value, json};

use crate::support::{CATALOG, Pair};

const ONE: &str = "/ofrep/v1/evaluate/flags/";
const BULK: &str = "/ofrep/v1/evaluate/flags";

fn context(tenant: &str) -> String {
    json!({ "context": { "targetingKey": tenant, "plan": "any", "nested": { "x": [1, null] } } })
        .to_string()
}

#[tokio::test]
async fn each_kind_has_a_value_a_variant_a_reason_and_metadata() {
    let pair = Pair::ready(CATALOG).await;
    let most = json!(9_007_199_254_740_991_u64);
    let rows = [
        ("acme", "sso", json!(true), "on", "plan"),
        ("tiny", "sso", json!(false), "off", "not_included"),
        ("acme", "seats", json!(15), "15", "plan"),
        ("acme", "sms", most, "unlimited", "plan"),
        ("tiny", "sms", json!(0), "0", "not_included"),
        ("acme", "support", json!("gold"), "gold", "plan"),
        ("tiny", "support", json!("none"), "none", "not_included"),
        ("acme", "theme", json!({ "color": "blue" }), "config", "plan"),
        ("tiny", "theme", json!({}), "none", "not_included"),
        ("nobody", "sso", json!(false), "off", "unknown_tenant"),
        ("no body/\"\n", "seats", json!(0), "0", "unknown_tenant"),
    ];
    for (tenant, key, value, variant, code) in rows {
        let answer = pair.web.post(&format!("{ONE}{key}"), &context(tenant)).await;
        assert_eq!(answer.status, 200, "{tenant} {key}");
        assert_eq!(answer.header("content-type"), "application/json");
        let flag = answer.json();
        let case = format!("{tenant} {key}: {flag}");
        assert_eq!(flag["key"], key, "{case}");
        assert_eq!(flag["value"], value, "{case}");
        assert_eq!(flag["variant"], variant, "{case}");
        let reason = if code == "unknown_tenant" { "STATIC" } else { "TARGETING_MATCH" };
        assert_eq!(flag["reason"], reason, "{case}");
        let metadata = flag["metadata"].as_object().unwrap();
        assert_eq!(metadata["reason_code"], code, "{case}");
        assert_eq!((&metadata["revision"], &metadata["stale"]), (&json!(1), &json!(false)));
        assert!(metadata["ageMs"].is_u64(), "{case}");
        assert!(metadata.values().all(|value| !value.is_object() && !value.is_array()), "{case}");
        let source = if code == "plan" { json!("plan:pro") } else { Value::Null };
        assert_eq!(flag["metadata"]["source"], source, "{case}");
    }
    assert!(pair.web.count("entitlements_sidecar_checks_total{reason=\"plan\"}").await >= 5);
    pair.sidecar.stop().await;
}

#[tokio::test]
async fn what_cannot_be_evaluated_has_the_status_that_clients_know() {
    let pair = Pair::ready(CATALOG).await;
    let rows = [
        ("sso", "", 400, "TARGETING_KEY_MISSING"),
        ("sso", "{}", 400, "TARGETING_KEY_MISSING"),
        ("sso", r#"{"context":{}}"#, 400, "TARGETING_KEY_MISSING"),
        ("sso", r#"{"context":null}"#, 400, "TARGETING_KEY_MISSING"),
        ("sso", r#"{"context":{"targetingKey":7}}"#, 400, "INVALID_CONTEXT"),
        ("sso", "{\"context\":", 400, "PARSE_ERROR"),
        ("nothing", "{nope", 400, "PARSE_ERROR"),
        ("nothing", r#"{"context":{"targetingKey":"acme"}}"#, 404, "FLAG_NOT_FOUND"),
        ("nothing", "", 404, "FLAG_NOT_FOUND"),
        ("a/b%20c", r#"{"context":{"targetingKey":"acme"}}"#, 404, "FLAG_NOT_FOUND"),
        ("a%2Fb", r#"{"context":{"targetingKey":"nobody"}}"#, 404, "FLAG_NOT_FOUND"),
    ];
    for (key, body, status, code) in rows {
        let answer = pair.web.post(&format!("{ONE}{key}"), body).await;
        let fault = answer.json();
        assert_eq!(
            (answer.status.as_u16(), &fault["errorCode"]),
            (status, &json!(code)),
            "{key} {body}"
        );
        assert!(fault["errorDetails"].as_str().is_some_and(|details| !details.is_empty()));
        let plain = key.replace("%20", " ").replace("%2F", "/");
        assert_eq!(fault["key"], plain.as_str());
        if code == "FLAG_NOT_FOUND" {
            continue;
        }
        let bulk = pair.web.post(BULK, body).await;
        assert_eq!(
            (bulk.status.as_u16(), &bulk.json()["errorCode"]),
            (status, &json!(code)),
            "{body}"
        );
        assert!(bulk.json().get("key").is_none(), "a bulk failure names no key");
    }
    pair.sidecar.stop().await;
}

#[tokio::test]
async fn bulk_is_the_same_as_one_by_one_and_is_tagged() {
    let pair = Pair::ready(CATALOG).await;
    for tenant in ["acme", "tiny", "nobody"] {
        let answer = pair.web.post(BULK, &context(tenant)).await;
        let bulk = answer.json();
        let flags = bulk["flags"].as_array().unwrap();
        assert_eq!(flags.len(), 7, "every feature, denied or not");
        for flag in flags {
            let path = format!("{ONE}{}", flag["key"].as_str().unwrap());
            let mut one = pair.web.post(&path, &context(tenant)).await.json();
            let metadata = one["metadata"].as_object_mut().unwrap();
            metadata.remove("ageMs").unwrap();
            metadata.remove("revision").unwrap();
            assert_eq!(&one, flag, "{tenant}");
        }
        assert_eq!(bulk["metadata"]["revision"], 1);
        let stream = &bulk["eventStreams"][0];
        assert_eq!(stream["type"], "sse");
        assert_eq!(stream["endpoint"]["requestUri"], format!("/ofrep/v1/events?tenant={tenant}"));
        let tag = answer.header("etag");
        let again =
            pair.web.ask(Method::POST, BULK, &[("if-none-match", tag)], &context(tenant)).await;
        assert_eq!(again.status, 304);
        assert_eq!(again.header("etag"), tag);
        let other =
            pair.web.ask(Method::POST, BULK, &[("if-none-match", tag)], &context("x")).await;
        assert_eq!(other.status, 200, "a tag is one tenant's");
    }
    let refetch = format!("{BULK}?flagConfigEtag=%22x%22&flagConfigLastModified=5");
    assert_eq!(pair.web.post(&refetch, &context("acme")).await.status, 200);
    pair.sidecar.stop().await;
}

#[tokio::test]
async fn no_answer_ever_pauses_a_client() {
    let pair = Pair::ready(CATALOG).await;
    for _ in 0..300 {
        let answer = pair.web.post(&format!("{ONE}sso"), &context("acme")).await;
        assert_eq!(answer.status, 200, "never 429");
    }
    pair.sidecar.stop().await;
}
