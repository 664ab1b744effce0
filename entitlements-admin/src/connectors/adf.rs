//! Atlassian's document format: what Jira Cloud takes for a description or comment.

use serde_json::{Value, json};

use crate::workflow::prose::{Span, paragraphs};

/// A text as a document. It never holds an empty text, which is invalid.
pub(super) fn document(text: &str) -> Value {
    let content: Vec<Value> = paragraphs(text).iter().map(|lines| paragraph(lines)).collect();
    json!({ "type": "doc", "version": 1, "content": content })
}

fn paragraph(lines: &[Vec<Span<'_>>]) -> Value {
    let mut content = Vec::new();
    for (number, line) in lines.iter().enumerate() {
        if number > 0 {
            content.push(json!({ "type": "hardBreak" }));
        }
        content.extend(line.iter().map(|span| match span {
            Span::Text(text) => json!({ "type": "text", "text": text }),
            Span::Code(text) => {
                json!({ "type": "text", "text": text, "marks": [{ "type": "code" }] })
            }
            Span::Link(url) => json!({ "type": "text", "text": url,
                "marks": [{ "type": "link", "attrs": { "href": url } }] }),
        }));
    }
    json!({ "type": "paragraph", "content": content })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_holds_no_empty_text() {
        assert_eq!(document(" \n\n"), json!({ "type": "doc", "version": 1, "content": [] }));
        let document = document("a `b`\nc\n\nhttps://x.example");
        let first = &document["content"][0]["content"];
        assert_eq!(first.as_array().unwrap().len(), 4);
        assert_eq!(first[1]["marks"][0]["type"], "code");
        assert_eq!(first[2]["type"], "hardBreak");
        let link = &document["content"][1]["content"][0]["marks"][0];
        assert_eq!(link["attrs"]["href"], "https://x.example");
    }
}
