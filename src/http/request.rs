//! A request as the routes see it, and what they answer.

use super::access::Caller;
use super::body::Body;
use super::head::Head;
use super::problem::Problem;
use super::reply::Reply;
use super::server::Shared;
use crate::push;
use std::net::SocketAddr;
use std::sync::Arc;

/// A request whose caller has the role its route needs.
pub(crate) struct Request<'c, 'w> {
    pub shared: &'c Arc<Shared>,
    pub head: &'c Head,
    pub body: &'c mut Body<'w>,
    /// The `{...}` of the route, in order.
    pub params: Vec<&'c str>,
    pub peer: SocketAddr,
    pub caller: Caller,
}

impl Request<'_, '_> {
    /// The n-th `{...}` of the route.
    pub fn param(&self, n: usize) -> &str {
        self.params.get(n).copied().unwrap_or_default()
    }
}

/// What a route answers.
pub(crate) enum Answer {
    Reply(Reply),
    /// The connection becomes a stream.
    Stream(Box<push::Request>),
}

impl From<Reply> for Answer {
    fn from(reply: Reply) -> Answer {
        Answer::Reply(reply)
    }
}

/// A route.
pub(crate) type Handler = fn(&mut Request<'_, '_>) -> Result<Answer, Problem>;
