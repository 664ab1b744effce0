//! Plain text with its paragraphs, lines, addresses and `code`, for media that show them.

/// A piece of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Span<'t> {
    /// Text.
    Text(&'t str),
    /// Something between back quotes.
    Code(&'t str),
    /// An address, to be followed.
    Link(&'t str),
}

/// The paragraphs of a text, each with its lines, each with its pieces. None is empty.
#[must_use]
pub fn paragraphs(text: &str) -> Vec<Vec<Vec<Span<'_>>>> {
    let mut all = Vec::new();
    let mut paragraph = Vec::new();
    for line in text.lines() {
        if line.trim().is_empty() {
            all.extend((!paragraph.is_empty()).then(|| std::mem::take(&mut paragraph)));
        } else {
            paragraph.push(spans(line.trim_end()));
        }
    }
    all.extend((!paragraph.is_empty()).then_some(paragraph));
    all
}

fn spans(line: &str) -> Vec<Span<'_>> {
    let mut found = Vec::new();
    let mut rest = line;
    while let Some((before, span, after)) = next(rest) {
        found.extend((!before.is_empty()).then_some(Span::Text(before)));
        found.push(span);
        rest = after;
    }
    found.extend((!rest.is_empty()).then_some(Span::Text(rest)));
    found
}

/// The first code or address in a text, and what is before and after it.
fn next(text: &str) -> Option<(&str, Span<'_>, &str)> {
    let code = text.find('`').and_then(|start| {
        let length = text[start + 1..].find('`').filter(|length| *length > 0)?;
        let end = start + 1 + length;
        Some((start, Span::Code(&text[start + 1..end]), end + 1))
    });
    let link = ["https://", "http://"].iter().filter_map(|scheme| text.find(scheme)).min();
    let link = link.and_then(|start| {
        let stops = |c: char| c.is_whitespace() || "<>\"`|".contains(c);
        let length = text[start..].find(stops).unwrap_or(text.len() - start);
        let address = text[start..start + length].trim_end_matches(['.', ',', ')', ';', ':', '!']);
        let has_host = address.split_once("://").is_some_and(|(_, rest)| !rest.is_empty());
        has_host.then_some((start, Span::Link(address), start + address.len()))
    });
    let first = match (code, link) {
        (Some(code), Some(link)) => Some(if code.0 <= link.0 { code } else { link }),
        (code, link) => code.or(link),
    };
    let (start, span, end) = first?;
    Some((&text[..start], span, &text[end..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_falls_into_its_pieces() {
        use Span::{Code, Link, Text};
        let text = "The `sso` of https://x.example/a?b=1.\nSecond line\n\n\n  \nEnd `";
        assert_eq!(
            paragraphs(text),
            vec![
                vec![
                    vec![
                        Text("The "),
                        Code("sso"),
                        Text(" of "),
                        Link("https://x.example/a?b=1"),
                        Text("."),
                    ],
                    vec![Text("Second line")],
                ],
                vec![vec![Text("End `")]],
            ]
        );
        assert_eq!(paragraphs("\n \n"), Vec::<Vec<Vec<Span<'_>>>>::new());
        assert_eq!(paragraphs("``a http://"), vec![vec![vec![Text("``a http://")]]]);
        assert_eq!(paragraphs("`http://a`"), vec![vec![vec![Code("http://a")]]]);
    }
}
