//! YAML as pyvisa-sim reads it: lists, mappings and text, and where each is written. Nothing else has a meaning: a number,
//! `true` and `null` are text as they stand (PyYAML's `BaseLoader`).
//!
//! Promises: bounded in depth and in values, aliases counted as what they stand for; never panics. Does not: know tags,
//! merge keys or more than one document.

use super::fault::{At, Fault};
use crate::limits;
use saphyr_parser::{Event, Parser, ScalarStyle, Span, StrInput};
use std::collections::HashMap;

/// So many bytes of text count as a value more.
const LONG: usize = 64;

/// A value, and where it begins.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    pub at: At,
    pub value: Value,
}

/// What stands there.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Text(String),
    List(Vec<Node>),
    /// In the order of the file; of a key that is there twice, the last value.
    Map(Vec<(String, Node)>),
}

/// The one document of a text.
///
/// # Errors
/// What is no YAML, or goes beyond the limits, and where.
pub fn read(text: &str) -> Result<Node, Fault> {
    let mut reader = Reader { parser: Parser::new_from_str(text), anchors: HashMap::new(), values: 0 };
    let mut document = None;
    loop {
        match reader.next()? {
            (Event::StreamEnd, _) => break,
            (Event::DocumentStart(_), span) if document.is_some() => {
                return Err(At::of(span).fault("a second document begins; expected one in a file"));
            }
            (Event::DocumentStart(_), _) => {
                let (event, span) = reader.next()?;
                document = Some(reader.node(event, span, 0)?.0);
            }
            _ => {}
        }
    }
    document.ok_or_else(|| At::START.fault("the file is empty"))
}

struct Reader<'a> {
    parser: Parser<'a, StrInput<'a>>,
    /// What an alias may stand for, and of how many values that is.
    anchors: HashMap<usize, (Node, usize)>,
    values: usize,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Result<(Event<'a>, Span), Fault> {
        match self.parser.next_event() {
            Some(Ok(event)) => Ok(event),
            Some(Err(e)) => {
                let at = At { line: e.marker().line(), column: e.marker().col() + 1 };
                Err(at.fault(format!("this is no YAML: {}", e.info())))
            }
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    /// The value that begins with this event, and of how many it is made.
    fn node(&mut self, event: Event<'a>, span: Span, depth: usize) -> Result<(Node, usize), Fault> {
        let at = At::of(span);
        if depth > limits::VISA_DEPTH {
            return Err(at.fault(format!("it goes deeper than {} levels", limits::VISA_DEPTH)));
        }
        self.count(1, at)?;
        let (value, anchor, size) = match event {
            Event::Scalar(text, style, anchor, _) => {
                // Nothing at all is written, and reads as `~`.
                let nothing = style == ScalarStyle::Plain && span.is_empty();
                let text = if nothing { String::new() } else { text.into_owned() };
                // A long one counts as several: an alias copies its bytes.
                let more = text.len() / LONG;
                self.count(more, at)?;
                (Value::Text(text), anchor, 1 + more)
            }
            Event::SequenceStart(anchor, _) => {
                let (mut items, mut size) = (Vec::new(), 1);
                loop {
                    let (event, span) = self.next()?;
                    if event == Event::SequenceEnd {
                        break;
                    }
                    let (item, n) = self.node(event, span, depth + 1)?;
                    size += n;
                    items.push(item);
                }
                (Value::List(items), anchor, size)
            }
            Event::MappingStart(anchor, _) => {
                let (mut members, mut size) = (Members::default(), 1);
                loop {
                    let (event, span) = self.next()?;
                    if event == Event::MappingEnd {
                        break;
                    }
                    let (key, k) = self.node(event, span, depth + 1)?;
                    let (event, span) = self.next()?;
                    let (value, n) = self.node(event, span, depth + 1)?;
                    size += n + k;
                    let Value::Text(name) = key.value else {
                        return Err(key.at.fault("a key is a list or a mapping; expected text"));
                    };
                    members.put(name, value);
                }
                (Value::Map(members.list), anchor, size)
            }
            Event::Alias(anchor) => {
                let Some((node, size)) = self.anchors.get(&anchor).cloned() else {
                    return Err(at.fault("an alias stands inside of what it stands for"));
                };
                self.count(size, at)?;
                return Ok((node, size));
            }
            _ => return Err(at.fault("expected a value")),
        };
        let node = Node { at, value };
        if anchor > 0 {
            // Its copy counts as well.
            self.count(size, at)?;
            self.anchors.insert(anchor, (node.clone(), size));
        }
        Ok((node, size))
    }

    fn count(&mut self, values: usize, at: At) -> Result<(), Fault> {
        self.values += values;
        if self.values > limits::VISA_VALUES {
            return Err(at.fault(format!(
                "the file has more than {} values, aliases counted as what they stand for",
                limits::VISA_VALUES
            )));
        }
        Ok(())
    }
}

/// The members of a mapping, each name once.
#[derive(Default)]
struct Members {
    list: Vec<(String, Node)>,
    places: HashMap<String, usize>,
}

impl Members {
    fn put(&mut self, name: String, value: Node) {
        match self.places.get(&name).and_then(|place| self.list.get_mut(*place)) {
            Some(member) => member.1 = value,
            None => {
                self.places.insert(name.clone(), self.list.len());
                self.list.push((name, value));
            }
        }
    }
}

impl Node {
    /// The member of that name.
    pub fn member(&self, name: &str) -> Option<&Node> {
        match &self.value {
            Value::Map(members) => members.iter().find(|(key, _)| key == name).map(|(_, node)| node),
            _ => None,
        }
    }

    /// What must be there.
    pub fn needs(&self, name: &str) -> Result<&Node, Fault> {
        self.member(name).ok_or_else(|| self.at.fault(format!("`{name}` is missing")))
    }

    /// What must be text.
    pub fn text(&self, name: &str) -> Result<&str, Fault> {
        match &self.value {
            Value::Text(text) => Ok(text),
            _ => Err(self.at.fault(format!("`{name}` is a list or a mapping; expected text"))),
        }
    }

    /// The members of what must be a mapping; nothing written is one without members.
    pub fn members(&self, name: &str) -> Result<&[(String, Node)], Fault> {
        match &self.value {
            Value::Map(members) => Ok(members),
            Value::Text(text) if text.is_empty() => Ok(&[]),
            _ => Err(self.at.fault(format!("`{name}` is no mapping"))),
        }
    }

    /// The items of what must be a list; nothing written is an empty one.
    pub fn items(&self, name: &str) -> Result<&[Node], Fault> {
        match &self.value {
            Value::List(items) => Ok(items),
            Value::Text(text) if text.is_empty() => Ok(&[]),
            _ => Err(self.at.fault(format!("`{name}` is no list"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(node: &Node) -> &str {
        node.text("it").unwrap()
    }

    #[test]
    fn everything_is_text_and_has_a_place() {
        let root = read("a: 1.0\nb: [x, true, ~]\nc:\n  d: \"\\r\\n\"\n  e:\nb: [z]\n").unwrap();
        assert_eq!(text(root.member("a").unwrap()), "1.0");
        let b = root.member("b").unwrap();
        assert_eq!(b.items("b").unwrap().iter().map(text).collect::<Vec<_>>(), ["z"], "the last of two");
        let c = root.member("c").unwrap();
        assert_eq!(text(c.member("d").unwrap()), "\r\n");
        assert_eq!(text(c.member("e").unwrap()), "");
        assert_eq!(c.member("d").unwrap().at, At { line: 4, column: 6 });
        assert_eq!(root.members("it").unwrap().iter().map(|(n, _)| n.as_str()).collect::<String>(), "abc");
    }

    #[test]
    fn aliases_are_what_they_stand_for_within_limits() {
        let root = read("a: &x {q: 1}\nb: *x\n").unwrap();
        assert_eq!(root.member("b").unwrap(), root.member("a").unwrap());
        // Few values of many bytes are many, too.
        let long = format!("a: &x {}\nb:\n{}", "y".repeat(100_000), "  - *x\n".repeat(1_000));
        assert!(read(&long).unwrap_err().text.contains("values"));
        // A billion laughs: each level is ten times the one before.
        let mut laughs = "a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol, lol]\n".to_string();
        for n in 1..12 {
            let tens = vec![format!("*a{}", n - 1); 10].join(", ");
            laughs += &format!("a{n}: &a{n} [{tens}]\n");
        }
        assert!(read(&laughs).unwrap_err().text.contains("more than"));
        assert!(read("a: &x [*x]\n").is_err());
        let deep = "[".repeat(10_000);
        assert!(read(&deep).is_err());
        let deep = format!("{}1", "- ".repeat(200));
        assert!(read(&deep).unwrap_err().text.contains("deeper"));
    }

    #[test]
    fn what_is_wrong_says_where() {
        let fault = read("a:\n  b: 'x\n").unwrap_err();
        assert!(fault.at.unwrap().line >= 2, "{fault:?}");
        assert!(read("").is_err());
        assert!(read("a: 1\n---\nb: 2\n").unwrap_err().text.contains("second document"));
        assert!(read("? [a]\n: b\n").unwrap_err().text.contains("key"));
    }
}
