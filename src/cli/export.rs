//! `telltale export`: what is stored, as lines of JSON or as a table, from a running telltale.
//!
//! It reads by short polls from the oldest stored event (or from an id) to what was the newest when it began, so it ends,
//! and what is published meanwhile is not its concern. JSON lines are the envelopes as they come, byte for byte.

use super::client::{Client, Trouble, encode};
use super::{DONE, ExportArgs, FAILED, complain};
use crate::clock::Wall;
use crate::model::Cursor;
use crate::sheet;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use std::fs::File;
use std::io::{BufWriter, Write};

/// Events of one poll.
const PAGE: usize = 5_000;

/// The answer to a poll.
#[derive(Deserialize)]
struct Poll<'a> {
    #[serde(borrow)]
    events: Vec<&'a RawValue>,
    cursor: String,
    more: bool,
    gap: Option<Value>,
}

pub(super) fn export(args: ExportArgs) -> u8 {
    let out: Box<dyn Write> = match &args.output {
        None => Box::new(std::io::stdout().lock()),
        Some(path) => match File::create(path) {
            Ok(file) => Box::new(file),
            Err(e) => {
                complain(&format!("failed to write {}: {e}", path.display()));
                return FAILED;
            }
        },
    };
    match run(&args, BufWriter::new(out)) {
        Ok(count) => {
            if args.output.is_some() {
                complain(&format!("{count} events"));
            }
            DONE
        }
        Err(Failed::Trouble(trouble)) => {
            complain(trouble.text());
            trouble.code()
        }
        // Whoever read the output has had enough.
        Err(Failed::Write(e)) if e.kind() == std::io::ErrorKind::BrokenPipe => DONE,
        Err(Failed::Write(e)) => {
            complain(&format!("failed to write: {e}"));
            FAILED
        }
    }
}

enum Failed {
    Trouble(Trouble),
    Write(std::io::Error),
}

impl From<Trouble> for Failed {
    fn from(trouble: Trouble) -> Self {
        Failed::Trouble(trouble)
    }
}
impl From<std::io::Error> for Failed {
    fn from(e: std::io::Error) -> Self {
        Failed::Write(e)
    }
}
impl From<csv::Error> for Failed {
    fn from(e: csv::Error) -> Self {
        Failed::Write(e.into())
    }
}

fn run(args: &ExportArgs, out: BufWriter<Box<dyn Write>>) -> Result<u64, Failed> {
    let client = Client::new(&args.server)?;
    let (mut since, from) = match args.since.as_deref() {
        None | Some("earliest") => ("earliest".to_string(), None),
        Some(id) if id.parse::<Cursor>().is_ok() => (id.to_string(), None),
        Some(text) => match Wall::parse(text).or_else(|| Wall::parse(&format!("{text}T00:00:00Z"))) {
            Some(time) => ("earliest".into(), Some(time)),
            None => {
                let why = format!("--since is {text:?}; expected an id, earliest, a day or a time in UTC");
                return Err(Trouble::Usage(why).into());
            }
        },
    };
    let mut query = format!("format=json&limit={PAGE}&state=false&topics={}", encode(&args.topics));
    if let Some(types) = &args.types {
        query += &format!("&types={}", encode(types));
    }
    let end = head(&client)?;
    let mut table = Table::new(args, out)?;
    let mut count = 0;
    loop {
        let text = client.get_text(&format!("/api/events?{query}&since={}", encode(&since)))?;
        let poll: Poll<'_> = serde_json::from_str(&text)
            .map_err(|e| Trouble::Refused(format!("the answer is not that of a telltale: {e}")))?;
        if let Some(gap) = poll.gap {
            complain(&format!("some events are gone: {gap}"));
        }
        for event in poll.events {
            let envelope: Value = serde_json::from_str(event.get()).unwrap_or_default();
            if envelope["type"] == "snapshot" || from.is_some_and(|from| time_of(&envelope) < Some(from)) {
                continue;
            }
            let seq = envelope["id"].as_str().and_then(|id| id.parse::<Cursor>().ok()).map(|id| id.seq);
            if seq.is_some_and(|seq| seq > end) {
                break;
            }
            table.row(event.get(), &envelope)?;
            count += 1;
        }
        let at = poll.cursor.parse::<Cursor>().map_or(u64::MAX, |cursor| cursor.seq);
        if !poll.more || at >= end || poll.cursor == since {
            break;
        }
        since = poll.cursor;
    }
    table.finish()?;
    Ok(count)
}

/// The newest seq there is.
fn head(client: &Client) -> Result<u64, Trouble> {
    let text = client.get_text("/api/events?format=json&since=latest&limit=1")?;
    let poll: Option<Poll<'_>> = serde_json::from_str(&text).ok();
    let head = poll.and_then(|poll| poll.cursor.parse::<Cursor>().ok());
    head.map(|cursor| cursor.seq)
        .ok_or_else(|| Trouble::Refused("the answer is not that of a telltale".into()))
}

/// When it was published, as far as that is known.
fn time_of(envelope: &Value) -> Option<Wall> {
    Wall::parse(stamp(envelope))
}

fn stamp(envelope: &Value) -> &str {
    envelope["corrected"].as_str().or(envelope["timestamp"].as_str()).unwrap_or_default()
}

/// Where rows go.
enum Table {
    Lines(BufWriter<Box<dyn Write>>),
    Csv(Box<csv::Writer<BufWriter<Box<dyn Write>>>>, Vec<String>),
}

impl Table {
    fn new(args: &ExportArgs, out: BufWriter<Box<dyn Write>>) -> Result<Table, Failed> {
        if args.format == "jsonl" {
            return Ok(Table::Lines(out));
        }
        let columns: Vec<String> = args
            .columns
            .as_deref()
            .unwrap_or_default()
            .split(',')
            .map(str::trim)
            .filter(|c| !c.is_empty())
            .map(str::to_string)
            .collect();
        let mut writer = csv::Writer::from_writer(out);
        let mut names = vec!["id", "time", "clock", "topic", "type"];
        match columns.as_slice() {
            [] => names.push("payload"),
            columns => names.extend(columns.iter().map(String::as_str)),
        }
        writer.write_record(names)?;
        Ok(Table::Csv(Box::new(writer), columns))
    }

    fn row(&mut self, line: &str, envelope: &Value) -> Result<(), Failed> {
        match self {
            Table::Lines(out) => Ok(writeln!(out, "{line}")?),
            Table::Csv(writer, columns) => {
                let text = |name: &str| envelope[name].as_str().unwrap_or_default().to_string();
                // A time that was corrected is as good as one of a clock that was set.
                let clock =
                    if envelope["corrected"].is_string() { "corrected".into() } else { text("clock") };
                let mut cells = vec![text("id"), stamp(envelope).into(), clock, text("topic"), text("type")];
                let payload = &envelope["payload"];
                match columns.as_slice() {
                    [] => cells.push(payload.to_string()),
                    columns => cells.extend(columns.iter().map(|path| cell(payload, path))),
                }
                Ok(writer.write_record(cells)?)
            }
        }
    }

    fn finish(self) -> Result<(), Failed> {
        match self {
            Table::Lines(mut out) => Ok(out.flush()?),
            Table::Csv(mut writer, _) => Ok(writer.flush()?),
        }
    }
}

/// A member of the payload, dots go deeper; empty when it is not there.
fn cell(payload: &Value, path: &str) -> String {
    match path.split('.').try_fold(payload, |value, name| value.get(name)) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => sheet::cell(text).into_owned(),
        Some(other) => other.to_string(),
    }
}
