//! `telltale publish`: one event from an argument, or many from the lines of standard input.
//!
//! Lines go out in order, those that are there together in one request, each request with an idempotency key: while the
//! server restarts the same request is sent again, and its events still count once.

use super::client::{Client, Trouble};
use super::{DONE, PublishArgs, complain, say};
use crate::{limits, threads};
use crossbeam::channel::{Receiver, bounded};
use serde_json::{Value, json};
use std::io::{BufRead, Read};
use std::time::{Duration, Instant};

/// Events in one request.
const BATCH: usize = 500;
/// How long a server that has answered before may be away.
const PATIENCE: Duration = Duration::from_secs(60);
const FIRST_WAIT: Duration = Duration::from_millis(250);
const LONGEST_WAIT: Duration = Duration::from_secs(4);

pub(super) fn publish(args: PublishArgs) -> u8 {
    match send_all(&args) {
        Ok(Some(cursor)) => {
            say(&cursor);
            DONE
        }
        Ok(None) => {
            complain("nothing was given on standard input, nothing is published");
            DONE
        }
        Err(trouble) => {
            complain(trouble.text());
            trouble.code()
        }
    }
}

/// Gives the id of the last event.
fn send_all(args: &PublishArgs) -> Result<Option<String>, Trouble> {
    let client = Client::new(&args.server)?;
    let mut sender = Sender {
        client,
        path: if args.durable { "/api/events?durable=true" } else { "/api/events" },
        run: random()?,
        requests: 0,
        answered: false,
    };
    if args.payload != "-" {
        let event = event(args, &args.payload).map_err(|why| Trouble::Usage(format!("PAYLOAD {why}")))?;
        return sender.send(&[event]).map(Some);
    }
    let (lines, reader) =
        stdin_lines().map_err(|e| Trouble::Usage(format!("failed to read standard input: {e}")))?;
    let result = from_lines(args, &lines, &mut sender);
    if result.is_ok() {
        // It has come to its end, or the channel would still be open.
        threads::join(reader);
    }
    result
}

fn from_lines(
    args: &PublishArgs,
    lines: &Receiver<Result<String, String>>,
    sender: &mut Sender,
) -> Result<Option<String>, Trouble> {
    let mut number = 0;
    let mut cursor = None;
    while let Ok(first) = lines.recv() {
        let mut batch = Vec::new();
        let begin = number + 1;
        let mut numbers = Vec::new();
        let mut fault = None;
        for line in std::iter::once(first).chain(lines.try_iter().take(BATCH - 1)) {
            number += 1;
            match line
                .and_then(|line| if line.trim().is_empty() { Ok(None) } else { event(args, &line).map(Some) })
            {
                Ok(Some(event)) => {
                    batch.push(event);
                    numbers.push(number);
                }
                Ok(None) => {}
                Err(why) => {
                    fault = Some(Trouble::Usage(format!("line {number} {why}")));
                    break;
                }
            }
        }
        log::debug!("lines {begin} to {number}");
        if !batch.is_empty() {
            cursor = Some(sender.send_or_find_fault(&batch, &numbers)?);
        }
        if let Some(fault) = fault {
            return Err(fault);
        }
    }
    Ok(cursor)
}

struct Sender {
    client: Client,
    path: &'static str,
    run: String,
    requests: u64,
    answered: bool,
}

impl Sender {
    /// Sends a batch; where the server refuses it, sends its events one by one up to the one at fault and names its line.
    fn send_or_find_fault(&mut self, batch: &[Value], numbers: &[usize]) -> Result<String, Trouble> {
        match self.send(batch) {
            Err(Trouble::Refused(why)) if batch.len() == 1 => {
                Err(Trouble::Refused(format!("line {}: {why}", numbers[0])))
            }
            Err(Trouble::Refused(_)) => {
                let mut last = String::new();
                for (event, number) in batch.iter().zip(numbers) {
                    last = self.send(std::slice::from_ref(event)).map_err(|trouble| match trouble {
                        Trouble::Refused(why) => Trouble::Refused(format!("line {number}: {why}")),
                        other => other,
                    })?;
                }
                Ok(last)
            }
            other => other,
        }
    }

    /// Sends events as one request, again and again while a server that has answered before is away.
    fn send(&mut self, events: &[Value]) -> Result<String, Trouble> {
        self.requests += 1;
        let key = format!("cli-{}-{}", self.run, self.requests);
        let body = match events {
            [one] => one.to_string(),
            several => Value::from(several).to_string(),
        };
        let begun = Instant::now();
        let mut wait = FIRST_WAIT;
        let mut told = false;
        loop {
            match self.client.post(
                self.path,
                "application/json",
                &[("Idempotency-Key", &key)],
                body.as_bytes(),
            ) {
                Ok(answer) => {
                    self.answered = true;
                    return Ok(answer["cursor"].as_str().unwrap_or_default().to_string());
                }
                Err(Trouble::Unreachable(why)) if self.answered && begun.elapsed() + wait < PATIENCE => {
                    if !told {
                        complain(&format!("{why}; trying again for {} s", PATIENCE.as_secs()));
                        told = true;
                    }
                    std::thread::sleep(wait);
                    wait = (wait * 2).min(LONGEST_WAIT);
                }
                Err(trouble) => return Err(trouble),
            }
        }
    }
}

/// An event from text: a whole one, or a payload for the type and topic of the arguments.
fn event(args: &PublishArgs, text: &str) -> Result<Value, String> {
    let value: Value = serde_json::from_str(text).map_err(|e| format!("is not JSON: {e}"))?;
    let Value::Object(members) = &value else {
        return Err("is JSON, but not an object; expected such as {\"open\": true}".into());
    };
    if members.get("type").is_some_and(Value::is_string)
        && members.get("payload").is_some_and(Value::is_object)
    {
        return Ok(value);
    }
    let mut event = json!({ "type": args.kind });
    if let Some(topic) = &args.topic {
        event["topic"] = topic.as_str().into();
    }
    event["payload"] = value;
    Ok(event)
}

type Lines = Receiver<Result<String, String>>;

/// Reads standard input on a thread of its own, so that lines that are there together are sent together.
fn stdin_lines() -> std::io::Result<(Lines, std::thread::JoinHandle<()>)> {
    let (to, lines) = bounded(BATCH);
    let reader = threads::spawn("stdin", limits::STACK, move || {
        let mut stdin = std::io::stdin().lock();
        loop {
            let mut line = Vec::new();
            let line = match (&mut stdin).take(limits::LINE_BYTES as u64 + 1).read_until(b'\n', &mut line) {
                Ok(0) => return,
                Ok(_) if line.len() > limits::LINE_BYTES => {
                    Err(format!("is longer than {} bytes", limits::LINE_BYTES))
                }
                Ok(_) => String::from_utf8(line).map_err(|_| "is not UTF-8 text".into()),
                Err(e) => Err(format!("can't be read: {e}")),
            };
            let bad = line.is_err();
            if to.send(line).is_err() || bad {
                return;
            }
        }
    })?;
    Ok((lines, reader))
}

fn random() -> Result<String, Trouble> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes)
        .map_err(|e| Trouble::Usage(format!("the system gives no random numbers: {e}")))?;
    Ok(bytes.iter().map(|b| format!("{b:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::ServerArgs;

    #[test]
    fn a_payload_becomes_an_event_and_a_whole_one_stays() {
        let args = PublishArgs {
            server: ServerArgs { url: String::new(), key: None },
            topic: Some("app/door".into()),
            kind: "note".into(),
            durable: false,
            payload: String::new(),
        };
        assert_eq!(
            event(&args, "{\"open\":true}").unwrap(),
            json!({"type": "note", "topic": "app/door", "payload": {"open": true}})
        );
        let whole = json!({"type": "alert", "payload": {"a": 1}});
        assert_eq!(event(&args, &whole.to_string()).unwrap(), whole);
        // A payload may have a member called type.
        assert_eq!(event(&args, "{\"type\":\"x\"}").unwrap()["payload"], json!({"type": "x"}));
        assert!(event(&args, "[1]").unwrap_err().contains("not an object"));
        assert!(event(&args, "{").unwrap_err().contains("not JSON"));
    }
}
