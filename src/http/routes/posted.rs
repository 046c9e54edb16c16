//! `POST /api/scans/{id}/data`: rows that a program measured.
//!
//! One object or an array is taken at a time, rows of one measurement all or none. Lines are taken as they arrive,
//! however many: at a fault the rows before the faulty line are in, and the answer says which line it was and how many
//! rows came of those before. Who sends lines faster than the disk takes their rows is made to wait, not refused.

use super::lines::{self, Came};
use super::publish::{Shape, Wrong, shape};
use super::rows::{Groups, not_json};
use super::scans::{objects, refused};
use crate::clock::Wall;
use crate::http::problem::{Problem, problem};
use crate::http::query::Query;
use crate::http::reply::Reply;
use crate::http::request::{Answer, Request};
use crate::http::server::Shared;
use crate::limits;
use crate::runner::book::Book;
use crate::runner::data::{Column, Row};
use crate::runner::{Control, LabError, Posted};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Rows of lines that are appended in one step, about.
const STEP: usize = 1_000;
/// How often rows that there is no room for are tried again.
const AGAIN: Duration = Duration::from_millis(20);

/// `POST /api/scans/{id}/data`.
pub(crate) fn data(request: &mut Request<'_, '_>) -> Result<Answer, Problem> {
    let durable = Query::read(&request.head.query, &["durable"])?.flag("durable")?.unwrap_or(false);
    let shared = Arc::clone(request.shared);
    let id = request.param(0).to_string();
    let mut post = Post::new(&shared, &id);
    let said_lines = request.head.says_lines();
    let long = request.body.length().is_none_or(|n| n > limits::BODY_BYTES as u64);
    let came = if said_lines || long {
        lines::read(request.body, said_lines, &shared.bodies, |text, before| post.lines(text, before))
    } else {
        request.body.whole(limits::BODY_BYTES, &shared.bodies).map(Came::Whole)
    };
    let done = came.and_then(|came| match came {
        Came::Lines => Ok(()),
        Came::Whole(body) => post.whole(&body),
    });
    done.map_err(|problem| post.tell(problem))?;
    let lab = &shared.parts.lab;
    if durable && !lab.wait_durable(&id, limits::DURABLE_TIME) {
        let detail = format!("{} rows were accepted but are not on the disk yet", post.accepted);
        return Err(problem(503, "not_durable_yet", "Not durable yet", detail).retry_after(5));
    }
    let control = match post.control {
        Some(control) => control,
        None => lab.control(&id).map_err(refused)?,
    };
    let body = json!({
        "accepted": post.accepted,
        "duplicates": post.duplicates,
        "last_index": post.last_index,
        "control": control,
    });
    Ok(Reply::json(200, &body).into())
}

/// What was posted so far.
struct Post<'s> {
    shared: &'s Shared,
    id: &'s str,
    /// The timestamp of rows that have none.
    now: Wall,
    /// The columns there were before.
    declared: BTreeMap<String, Vec<Column>>,
    accepted: u64,
    duplicates: u64,
    last_index: Option<u64>,
    control: Option<Control>,
    /// Lines are being read: what came before a fault is in.
    by_line: bool,
}

impl<'s> Post<'s> {
    fn new(shared: &'s Shared, id: &'s str) -> Post<'s> {
        let book: &Book = shared.parts.lab.book();
        Post {
            shared,
            id,
            now: Wall::now(),
            declared: book.measurements(id),
            accepted: 0,
            duplicates: 0,
            last_index: None,
            control: None,
            by_line: false,
        }
    }

    /// A body that is there as a whole.
    fn whole(&mut self, body: &[u8]) -> Result<(), Problem> {
        if matches!(shape(body), Ok(Shape::Lines)) {
            return self.lines(body, 0);
        }
        let mut groups = Groups::default();
        objects(body, |object| {
            groups.take(object, self.now, |measurement, name| self.is_array(measurement, name))?;
            if groups.count() > limits::BATCH {
                let detail = format!(
                    "there are more than {} rows in one step; send less, or any number as lines (NDJSON)",
                    limits::BATCH
                );
                return Err(Wrong::too_large(detail));
            }
            Ok(())
        })?;
        self.append(groups.into_vec()).map_err(refused)
    }

    /// Lines that are there as a whole, after `before` others.
    fn lines(&mut self, text: &[u8], before: usize) -> Result<(), Problem> {
        self.by_line = true;
        let mut step = Step::default();
        for (line, text) in lines::each(text, before) {
            // What came before a fault is in.
            let (measurement, rows) = match self.line(text, line) {
                Ok(group) => group,
                Err(wrong) => return self.send(step).and(Err(wrong)),
            };
            if step.measurement != measurement || step.rows.len() + rows.len() > STEP {
                self.send(std::mem::take(&mut step))?;
                step.measurement = measurement;
            }
            step.rows.extend(rows);
            step.lines.push((line, text));
        }
        self.send(step)
    }

    /// The rows of a line.
    fn line(&self, text: &[u8], line: usize) -> Result<(String, Vec<Row>), Problem> {
        let object =
            serde_json::from_slice(text).map_err(|e| not_json(text, Wrong::json(&e).at("line", line)))?;
        let mut groups = Groups::default();
        let taken = groups.take(object, self.now, |measurement, name| self.is_array(measurement, name));
        taken.map_err(|wrong| wrong.at("line", line))?;
        // One object is of one measurement.
        Ok(groups.into_vec().pop().unwrap_or_default())
    }

    /// Appends the rows of a step; where they are refused, line by line up to the one that is to blame.
    fn send(&mut self, step: Step<'_>) -> Result<(), Problem> {
        if step.rows.is_empty() || self.append(vec![(step.measurement, step.rows)]).is_ok() {
            return Ok(());
        }
        for (line, text) in step.lines {
            let began = Instant::now();
            loop {
                match self.append(vec![self.line(text, line)?]) {
                    Ok(()) => break,
                    Err(LabError::Full(_))
                        if began.elapsed() < limits::DURABLE_TIME && !self.shared.is_stopping() =>
                    {
                        std::thread::sleep(AGAIN);
                    }
                    Err(why) => {
                        // The refusal says what the last row of its measurement is.
                        self.last_index = None;
                        return Err(refused(why).with("line", line));
                    }
                }
            }
        }
        Ok(())
    }

    fn append(&mut self, groups: Vec<(String, Vec<Row>)>) -> Result<(), LabError> {
        let Posted { accepted, duplicates, last_index, control } =
            self.shared.parts.lab.post_rows(self.id, groups, self.now)?;
        self.accepted += accepted;
        self.duplicates += duplicates;
        self.last_index = last_index;
        self.control = Some(control);
        Ok(())
    }

    /// Whether a column was declared to hold arrays.
    fn is_array(&self, measurement: &str, name: &str) -> bool {
        let columns = self.declared.get(measurement).map(Vec::as_slice).unwrap_or_default();
        columns.iter().any(|c| c.name == name && c.dtype.as_deref() == Some("array"))
    }

    /// Adds what was accepted of the lines before a fault.
    fn tell(&self, problem: Problem) -> Problem {
        if !self.by_line {
            return problem;
        }
        let problem = problem.with("accepted", self.accepted).with("duplicates", self.duplicates);
        match self.last_index {
            Some(index) => problem.with("last_index", Value::from(index)),
            None => problem,
        }
    }
}

/// Rows of one measurement that came one after the other, and the lines they are from.
#[derive(Default)]
struct Step<'t> {
    measurement: String,
    rows: Vec<Row>,
    lines: Vec<(usize, &'t [u8])>,
}
