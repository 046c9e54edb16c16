//! Telling a recorder something over HTTP: one request at a time, on a thread of its own, so that a recorder that does not
//! answer delays nothing but its own commands.

use super::super::inputs::Until;
use super::Recorders;
use crate::limits;
use crossbeam::channel::{Receiver, select};
use std::sync::Arc;
use ureq::Agent;

/// A request for a command.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub command: String,
    pub url: String,
    pub method: String,
    pub body: String,
}

/// Sends the requests of one recorder.
pub(in crate::sources) struct Sender {
    pub(super) id: String,
    pub(super) requests: Receiver<Request>,
    pub(super) recorders: Arc<Recorders>,
}

impl Sender {
    /// The name of its thread.
    pub fn name(&self) -> String {
        // The kernel shows 15 characters.
        format!("rec-{}", self.id).chars().take(15).collect()
    }

    /// Sends until it is over.
    pub fn run(self, until: &Until) {
        let agent = Agent::config_builder()
            // Recorders are on this network; a proxy for the internet does not know them.
            .proxy(None)
            .max_redirects(0)
            .http_status_as_error(false)
            .timeout_global(Some(limits::RECORDER_HTTP))
            .user_agent(concat!("telltale/", env!("CARGO_PKG_VERSION")))
            .build()
            .new_agent();
        loop {
            let request = select! {
                recv(until.daemon.receiver()) -> _ => return,
                recv(until.set.receiver()) -> _ => return,
                recv(self.requests) -> request => match request {
                    Ok(request) => request,
                    Err(_) => return,
                },
            };
            let outcome = send(&agent, &request);
            self.recorders.sent(&self.id, &request.command, outcome);
        }
    }
}

fn send(agent: &Agent, request: &Request) -> Result<(), String> {
    let kind =
        if request.body.trim_start().starts_with(['{', '[']) { "application/json" } else { "text/plain" };
    let answer = match request.method.as_str() {
        "GET" => agent.get(&request.url).call(),
        "PUT" => agent.put(&request.url).content_type(kind).send(&request.body),
        _ => agent.post(&request.url).content_type(kind).send(&request.body),
    };
    match answer {
        Ok(answer) if answer.status().is_success() => Ok(()),
        Ok(answer) => Err(format!("{} answered {}", request.url, answer.status())),
        Err(ureq::Error::Timeout(_)) => {
            Err(format!("{} did not answer within {:?}", request.url, limits::RECORDER_HTTP))
        }
        Err(e) => Err(format!("{} can't be reached: {e}", request.url)),
    }
}
