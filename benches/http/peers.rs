//! Other engines over HTTP, where their programs are on the `PATH`. Each is told which plans give
//! which feature and asked about one feature for a tenant's plan: less than a sidecar decides.
//!
//! `cerbos` is in the npm package `@cerbos/cerbos-linux-x64`, `unleash-edge` on crates.io.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use entitlements_core::{FeatureKey, PlanKey};
use serde_json::json;

use super::{
    SERVER_CORE,
    load::{Request, post, post_with},
    server::{Server, on_core},
    world::World,
};

pub(crate) struct Peer {
    pub(crate) name: &'static str,
    pub(crate) server: Server,
    pub(crate) requests: Vec<Request>,
}

/// Those that are there. The others are named.
pub(crate) fn installed(world: &World) -> Vec<Peer> {
    let found = |name: &str| {
        let program = program(name);
        if program.is_none() {
            println!("{name} is not on the PATH, so it is left out");
        }
        program
    };
    let edge = found("unleash-edge").map(|program| edge(world, &program));
    let cerbos = found("cerbos").map(|program| cerbos(world, &program));
    edge.into_iter().chain(cerbos).collect()
}

#[expect(clippy::disallowed_methods, reason = "what is installed is said in the environment")]
fn program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|folder| folder.join(name)).find(|program| program.is_file())
}

const EDGE_PORT: u16 = 17_403;
const EDGE_TOKEN: &str = "*:development.secret-of-a-bench";

/// Unleash Edge from a file: one flag a feature, on for the plans that give it.
fn edge(world: &World, program: &Path) -> Peer {
    let flag = |(feature, plans): (&FeatureKey, &Vec<PlanKey>)| {
        let in_plan = json!([{ "contextName": "plan", "operator": "IN", "values": plans }]);
        let strategy = json!({ "name": "default", "parameters": {}, "constraints": in_plan });
        json!({
            "name": feature, "type": "release", "enabled": true, "project": "default",
            "strategies": [strategy], "variants": [], "impressionData": false,
        })
    };
    let flags: Vec<_> = world.plans.iter().map(flag).collect();
    let file = world.folder("edge").join("features.json");
    fs::write(&file, json!({ "version": 2, "features": flags }).to_string()).unwrap();
    let mut command = on_core(SERVER_CORE, program);
    command.args(["--port", &EDGE_PORT.to_string(), "--interface", "127.0.0.1", "--workers", "1"]);
    command.args(["offline", "--tokens", EDGE_TOKEN, "--bootstrap-file"]).arg(file);
    let server = Server::at(&mut command, EDGE_PORT);
    let ask = |(tenant, plan, feature): (_, Option<&PlanKey>, &FeatureKey)| {
        let context = json!({ "userId": tenant, "properties": { "plan": plan } }).to_string();
        let head = format!("Authorization: {EDGE_TOKEN}\r\n");
        post_with(&format!("/api/frontend/features/{feature}"), &head, &context)
    };
    // It has no answer but 404 where a flag is off.
    let is_on = |(_, plan, feature): &(_, Option<&PlanKey>, &FeatureKey)| {
        plan.is_some_and(|plan| world.plans[*feature].contains(plan))
    };
    let requests = world.questions().filter(is_on).map(ask).collect();
    Peer { name: "unleash-edge, one flag", server, requests }
}

const CERBOS_PORT: u16 = 17_404;
const CERBOS_GRPC_PORT: u16 = 17_405;

/// Cerbos from a folder: one resource policy a feature, which allows its use to the plans that give
/// it.
fn cerbos(world: &World, program: &Path) -> Peer {
    let folder = world.folder("cerbos");
    for (feature, plans) in &world.plans {
        let is_given = format!("P.attr.plan in {}", json!(plans));
        let rule = json!({
            "actions": ["use"], "effect": "EFFECT_ALLOW", "roles": ["tenant"],
            "condition": { "match": { "expr": is_given } },
        });
        let resource = json!({ "resource": feature, "version": "default", "rules": [rule] });
        let policy = json!({ "apiVersion": "api.cerbos.dev/v1", "resourcePolicy": resource });
        fs::write(folder.join(format!("{feature}.json")), policy.to_string()).unwrap();
    }
    let mut command = on_core(SERVER_CORE, program);
    command.env("GOMAXPROCS", "1").env("CERBOS_NO_TELEMETRY", "1").arg("server");
    let disk = format!("storage.disk.directory={}", folder.display());
    let listen = format!("server.httpListenAddr=127.0.0.1:{CERBOS_PORT}");
    let grpc = format!("server.grpcListenAddr=127.0.0.1:{CERBOS_GRPC_PORT}");
    for set in [disk.as_str(), &listen, &grpc, "storage.driver=disk"] {
        command.arg(format!("--set={set}"));
    }
    command.arg("--log-level=error");
    let server = Server::at(&mut command, CERBOS_PORT);
    let ask = |(tenant, plan, feature): (_, Option<&PlanKey>, &FeatureKey)| {
        let principal = json!({ "id": tenant, "roles": ["tenant"], "attr": { "plan": plan } });
        let resource = json!({ "kind": feature, "id": feature });
        let asked = json!([{ "actions": ["use"], "resource": resource }]);
        let body = json!({ "requestId": "1", "principal": principal, "resources": asked });
        post("/api/check/resources", &body.to_string())
    };
    let requests = world.questions().map(ask).collect();
    Peer { name: "cerbos, one resource", server, requests }
}
