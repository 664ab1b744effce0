//! Mail: text and HTML, with an id that is the same for each attempt, in threads by subject.

use std::{
    collections::HashMap,
    fmt, fs,
    path::Path,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use entitlements_outbound::guard;
use lettre::{
    Address, AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor,
    message::{
        Mailbox, MultiPart,
        header::{HeaderName, HeaderValue},
    },
    transport::smtp::{
        PoolConfig,
        authentication::Credentials as Login,
        client::{Certificate, Tls, TlsParameters},
    },
};

use super::{Clients, Job, Report};
use crate::workflow::{
    connector::{Email, MailSecurity},
    delivery::Outcome,
    prose::{Span, paragraphs},
    task::{External, TaskState},
};

/// How long one mail may take, from connecting to the last word.
const MAIL_TIME_MAX: Duration = Duration::from_secs(30);
/// How many connections are kept to one server.
const CONNECTIONS_MAX: u32 = 4;

type Transport = AsyncSmtpTransport<Tokio1Executor>;

/// The open connections, by connector and how it is set up.
#[derive(Default)]
pub(super) struct Transports(Mutex<HashMap<String, ([u8; 32], Transport)>>);

impl fmt::Debug for Transports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Transports")
    }
}

/// Sends a mail.
pub(super) async fn send(clients: &Clients, job: &Job<'_>, mail: &Email) -> Report {
    let (message, id) = match written(job, mail) {
        Ok(written) => written,
        Err(why) => return Report::refused(why),
    };
    let transport = match transport(clients, job, mail).await {
        Ok(transport) => transport,
        Err(why) => return Report::retry(why),
    };
    let sent = tokio::time::timeout(MAIL_TIME_MAX, transport.send(message)).await;
    let report = match sent {
        Ok(Ok(answer)) => Report::delivered(format!("it answered {}", answer.code())),
        Ok(Err(error)) => failure(&error),
        Err(_) => Report::new(
            Outcome::Ambiguous,
            format!("it was silent for {} s", MAIL_TIME_MAX.as_secs()),
        ),
    };
    if report.outcome != Outcome::Delivered {
        // The address behind the name, or the connection, may be the trouble.
        clients.mail.0.lock().unwrap_or_else(PoisonError::into_inner).remove(job.key);
        return report;
    }
    if job.task.is_some_and(|task| task.opened_by != job.delivery && task.state == TaskState::Open)
    {
        return report;
    }
    let external = External { id, handle: None, url: None };
    report.with(job.opened(external, false))
}

fn failure(error: &lettre::transport::smtp::Error) -> Report {
    let detail = describe(error);
    let code = error.status().map(|code| code.to_string());
    let outcome = if error.is_permanent() && !matches!(code.as_deref(), Some("530" | "535" | "538"))
    {
        Outcome::Refused
    } else if error.is_timeout() {
        Outcome::Ambiguous
    } else {
        // What is set up wrong can be put right; the rest passes.
        Outcome::Retry { after: None }
    };
    Report::new(outcome, detail)
}

/// An error with what is behind it.
fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let more = inner.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        source = inner.source();
    }
    text
}

/// The mail, and its id.
fn written(job: &Job<'_>, mail: &Email) -> Result<(Message, String), String> {
    let from: Mailbox = mail.from.parse().map_err(|error| format!("`from`: {error}"))?;
    let domain = from.email.domain().to_owned();
    let id = format!("<{}@{domain}>", job.delivery);
    let mut builder = Message::builder()
        .from(from)
        .subject(job.message.title.as_str())
        .message_id(Some(id.clone()))
        .raw_header(header("Auto-Submitted", "auto-generated".into()))
        .raw_header(header("List-Id", format!("Entitlements <events.entitlements.{domain}>")));
    let to: Vec<&String> = match mail.to.is_empty() {
        true => job.members.iter().collect(),
        false => mail.to.iter().collect(),
    };
    if to.is_empty() {
        return Err(
            "there is nobody to write to: name somebody in `to`, or members of the team".into()
        );
    }
    for one in to {
        let mailbox: Mailbox = match one.parse::<Address>() {
            Ok(address) => Mailbox::new(None, address),
            Err(_) => one.parse().map_err(|error| format!("`{one}`: {error}"))?,
        };
        builder = builder.to(mailbox);
    }
    let first = job.task.filter(|task| task.opened_by != job.delivery);
    if let Some(first) = first.filter(|task| task.state == TaskState::Open) {
        let first = first.external.id.clone();
        builder = builder.in_reply_to(first.clone()).references(first);
    }
    let ids: Vec<&str> = job.events.iter().filter_map(|event| event["id"].as_str()).collect();
    let foot = format!("{} · {} · {}", job.severity.code(), job.subject, ids.join(", "));
    let plain = format!("{}\n\n-- \n{foot}\n", job.message.text.trim_end());
    let html = html(&job.message.title, &job.message.text, &foot);
    let message = builder
        .multipart(MultiPart::alternative_plain_html(plain, html))
        .map_err(|error| format!("the mail cannot be written: {error}"))?;
    Ok((message, id))
}

fn header(name: &'static str, value: String) -> HeaderValue {
    HeaderValue::new(HeaderName::new_from_ascii_str(name), value)
}

/// The text as a page that reads well in a mail program.
fn html(title: &str, text: &str, foot: &str) -> String {
    let mut body = String::new();
    for lines in paragraphs(text) {
        let lines = lines.iter().map(|line| line.iter().map(piece).collect::<String>());
        body.push_str(&format!("<p>{}</p>\n", lines.collect::<Vec<_>>().join("<br>\n")));
    }
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"color-scheme\" content=\"light dark\"></head>\n\
         <body style=\"font:16px/1.5 system-ui,sans-serif;max-width:40em;margin:1em auto;padding:0 1em\">\n\
         <h1 style=\"font-size:1.25em\">{}</h1>\n{body}\
         <p style=\"font-size:.8em;opacity:.7\">{}</p>\n</body></html>\n",
        safe(title),
        safe(foot)
    )
}

fn piece(span: &Span<'_>) -> String {
    match span {
        Span::Text(text) => safe(text),
        Span::Code(text) => format!("<code>{}</code>", safe(text)),
        Span::Link(url) => format!("<a href=\"{0}\">{0}</a>", safe(url)),
    }
}

fn safe(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// The connections to a server; made anew where it is set up another way.
async fn transport(clients: &Clients, job: &Job<'_>, mail: &Email) -> Result<Transport, String> {
    let print = fingerprint(job, mail)?;
    {
        let known = clients.mail.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, transport)) = known.get(job.key).filter(|(known, _)| *known == print) {
            return Ok(transport.clone());
        }
    }
    let port = mail.port.unwrap_or(match mail.security {
        MailSecurity::Starttls => 587,
        MailSecurity::Tls => 465,
        MailSecurity::Plain => 25,
    });
    let host = mail.host.trim_start_matches('[').trim_end_matches(']');
    let found = guard::resolve(Some(&clients.guard), host, port);
    let found = found.await.map_err(|error| match error.downcast_ref::<guard::Forbidden>() {
        Some(forbidden) => format!(
            "`{host}` leads to {}, which is not on the open internet: where that is meant, allow \
             its network with `--allow-network`",
            forbidden.address
        ),
        None => format!("cannot find `{host}`: {error}"),
    })?;
    let address = found.first().ok_or_else(|| format!("`{host}` has no address"))?;
    // By the address that was checked, so that the name cannot lead elsewhere by now.
    let tls = || tls(host, clients.extra_ca.as_deref());
    let mut builder = Transport::builder_dangerous(address.ip().to_string())
        .port(port)
        .timeout(Some(MAIL_TIME_MAX))
        .pool_config(PoolConfig::new().max_size(CONNECTIONS_MAX))
        .tls(match mail.security {
            MailSecurity::Starttls => Tls::Required(tls()?),
            MailSecurity::Tls => Tls::Wrapper(tls()?),
            MailSecurity::Plain => Tls::None,
        });
    if let (Some(user), Some(password)) =
        (job.credentials.get("user"), job.credentials.get("password"))
    {
        builder = builder.credentials(Login::new(user.into(), password.into()));
    }
    let transport: Transport = builder.build();
    let mut known = clients.mail.0.lock().unwrap_or_else(PoisonError::into_inner);
    known.insert(job.key.into(), (print, transport.clone()));
    Ok(transport)
}

/// What tells one way to be set up from another.
fn fingerprint(job: &Job<'_>, mail: &Email) -> Result<[u8; 32], String> {
    let setup = serde_json::to_vec(&(mail, job.credentials)).map_err(|error| error.to_string())?;
    Ok(blake3::hash(&setup).into())
}

fn tls(host: &str, extra_ca: Option<&Path>) -> Result<TlsParameters, String> {
    let mut builder = TlsParameters::builder(host.into());
    if let Some(path) = extra_ca {
        let pem = fs::read(path).map_err(|error| format!("`{}`: {error}", path.display()))?;
        let certificate = Certificate::from_pem(&pem).map_err(|error| describe(&error))?;
        builder = builder.add_root_certificate(certificate);
    }
    builder.build_rustls().map_err(|error| describe(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_shows_text_and_nothing_that_others_put_in() {
        let page = html("<b>", "a `<i>`\nhttps://x.example/?a=\"b\"", "foot & <u>");
        assert!(page.contains("&lt;b&gt;") && page.contains("<code>&lt;i&gt;</code>"), "{page}");
        assert!(page.contains("<a href=\"https://x.example/?a=\">"), "{page}");
        assert!(page.contains("foot &amp; &lt;u&gt;") && !page.contains("<i>"), "{page}");
    }
}
