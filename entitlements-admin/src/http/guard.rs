//! What holds for every route: who may, how long, and that it is counted.

use axum::{
    extract::{Request, State},
    http::{HeaderMap, header},
    middleware::Next,
    response::{IntoResponse, Response},
};

use super::{
    problem::{Code, Problem},
    routes::Route,
};
use crate::app::{Access, Actor, App, Error};

/// A route's guard.
#[derive(Debug, Clone)]
pub(super) struct Gate {
    pub(super) app: App,
    pub(super) route: Route,
}

/// Lets a request through to its handler, or not.
pub(super) async fn guard(State(gate): State<Gate>, request: Request, next: Next) -> Response {
    let Gate { app, route } = gate;
    let started = app.clock().mark();
    let response = match admit(&app, route.access, request.headers()) {
        Err(error) => Problem::from(error).into_response(),
        Ok(actor) => run(route, actor, request, next).await,
    };
    let status = response.status().as_u16();
    app.metrics().answered(route.verb.method().to_string(), route.path, status);
    let took_us = started.elapsed().as_micros();
    tracing::debug!(method = %route.verb.method(), route = route.path, status, took_us);
    response
}

/// `None` where the route is public.
fn admit(app: &App, access: Access, headers: &HeaderMap) -> Result<Option<Actor>, Error> {
    if access == Access::Public {
        return Ok(None);
    }
    let actor = app.actor(token(headers).ok_or(Error::Unauthenticated)?)?;
    actor.may(access)?;
    Ok(Some(actor))
}

fn token(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next()?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    let single = values.next().is_none();
    (single && scheme.eq_ignore_ascii_case("bearer")).then(|| token.trim())
}

async fn run(route: Route, actor: Option<Actor>, mut request: Request, next: Next) -> Response {
    if let Some(actor) = actor {
        request.extensions_mut().insert(actor);
    }
    match tokio::time::timeout(route.patience, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            let seconds = route.patience.as_secs();
            let detail =
                format!("it was not done within {seconds} s: send the body faster, or less");
            Problem::new(Code::RequestTimeout, detail).into_response()
        }
    }
}
