//! A feed: one WebSocket that gives the values of one or several streams, and REST where it does not.
//!
//! **Promises.** The last good value stays and is said to be old; an error is never a zero. What can't be read is
//! counted. **Threads.** One a feed (`feed-N`). Connecting and asking REST may hang in the system's resolver, so each is done
//! by a thread of its own (`dial-N`), one at a time, which nobody waits for at the end. **Bounds.** A message has one, and
//! so has every wait.

use super::Streams;
use super::extract::{Extract, Found};
use super::machine::{Effect, Input, Machine};
use crate::bus::Bus;
use crate::clock::Wall;
use crate::config::{Feed as Spec, StreamRule};
use crate::limits;
use crate::model::{Quality, QualityReason, Severity, SourceState, StreamState, StreamStatus, StreamValue};
use crate::sources::inputs::Until;
use crate::sources::publish::Report;
use crate::sources::{monotonic, publish};
use crate::threads;
use crossbeam::channel::{Receiver, Sender, bounded};
use serde_json::{Value, json};
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;
use tungstenite::protocol::WebSocketConfig;
use tungstenite::{Message, WebSocket};

/// How long a read of the socket waits; publishing is not later than that.
const READ: Duration = Duration::from_millis(20);
/// For connecting, for the handshake, and for an answer of REST.
const ANSWER: Duration = Duration::from_secs(10);
/// A quiet socket is sent a ping this often, so that what stands between keeps it.
const PING: Duration = Duration::from_secs(20);
/// The feed's own status is said this often at most.
const REPORT: Duration = Duration::from_secs(2);

trait Wire: Read + Write + Send {}
impl<T: Read + Write + Send> Wire for T {}
type Socket = WebSocket<Box<dyn Wire>>;

enum News {
    Dialed(Result<Box<Socket>, String>),
    Rest(Result<Value, String>),
}

/// One feed.
pub struct Feed {
    id: String,
    spec: Spec,
    lines: Vec<Line>,
    bus: Arc<Bus>,
    streams: Arc<Streams>,
    report: Report,
    machine: Machine,
    bad: u64,
}

/// One stream of it.
struct Line {
    rule: StreamRule,
    extract: Extract,
    last: Option<StreamValue>,
    /// The newest tick that is not published yet.
    waiting: Option<(f64, Wall)>,
    published: Option<Duration>,
    ticks: u64,
    conflated: u64,
    dropped: u64,
    status: Option<(StreamState, Option<String>)>,
    said: Option<Duration>,
}

impl Feed {
    /// The feed behind these streams, which have the same address.
    pub fn new(id: String, rules: Vec<StreamRule>, bus: Arc<Bus>, streams: Arc<Streams>) -> Option<Feed> {
        let spec = rules.first()?.feed.clone()?;
        let stale = rules.iter().filter_map(|r| r.stale_after).min().unwrap_or(limits::FEED_STALE);
        let rest = spec.rest.as_ref().map(|_| spec.rest_interval);
        let lines = rules.into_iter().filter_map(|rule| {
            let feed = rule.feed.as_ref()?;
            streams.fed(&rule.id);
            let extract =
                Extract { value: feed.value.clone(), time: feed.time.clone(), only: feed.only.clone() };
            let last = streams.last(&rule.id);
            Some(Line {
                rule,
                extract,
                last,
                waiting: None,
                published: None,
                ticks: 0,
                conflated: 0,
                dropped: 0,
                status: None,
                said: None,
            })
        });
        let lines: Vec<Line> = lines.collect();
        let mut report = Report::new(&id, "feed", REPORT);
        report.detail("url", shown(&spec.url));
        report.detail("streams", json!(lines.iter().map(|l| l.rule.id.clone()).collect::<Vec<_>>()));
        let machine = Machine::new(stale, rest, monotonic());
        Some(Feed { id, spec, lines, bus, streams, report, machine, bad: 0 })
    }

    /// The feed's id as a source.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Serves it until it is over.
    pub(in crate::sources) fn run(mut self, until: &Until) {
        let (tell, news) = bounded(4);
        let mut socket: Option<Socket> = None;
        let mut pinged = monotonic();
        self.say_status();
        loop {
            let mut input = match &mut socket {
                Some(open) => self.listen(open, &mut pinged),
                None => None,
            };
            if matches!(input, Some(Input::Closed { .. })) {
                socket = None;
            }
            input = input.or_else(|| self.hear(&news, &mut socket));
            self.act(input.unwrap_or(Input::Time), &tell, &mut socket);
            self.publish_due();
            self.say_status();
            let rest = match socket {
                Some(_) => Duration::ZERO,
                None => self.machine.wake().saturating_sub(monotonic()).clamp(READ, limits::FEED_REST),
            };
            if news.is_empty() && until.wait(rest.min(READ * 5)) {
                break;
            }
        }
        if !until.daemon.is_stopped() {
            self.mark(QualityReason::NotConnected);
            self.report.state(SourceState::Disabled);
            self.report.flush(&self.bus);
            for line in &self.lines {
                self.streams.unfed(&line.rule.id);
            }
        }
    }

    /// What a dialler has brought.
    fn hear(&mut self, news: &Receiver<News>, socket: &mut Option<Socket>) -> Option<Input> {
        Some(match news.try_recv().ok()? {
            News::Dialed(Ok(open)) => {
                *socket = Some(*open);
                Input::Opened
            }
            News::Dialed(Err(why)) => Input::Closed { why, chance: chance() },
            News::Rest(Err(why)) => Input::RestFailed(why),
            News::Rest(Ok(message)) => {
                let mut found = 0;
                let path = self.spec.rest_value.clone();
                for line in &mut self.lines {
                    let extract = Extract {
                        value: path.clone().unwrap_or(line.extract.value.clone()),
                        time: line.extract.time.clone(),
                        only: None,
                    };
                    if let Found::Value(value, at) = extract.read(&message) {
                        found += 1;
                        line.tick(value, at.unwrap_or_else(Wall::now), &self.streams);
                    }
                }
                if found > 0 { Input::RestTick } else { Input::RestFailed("its answer has no value".into()) }
            }
        })
    }

    fn act(&mut self, input: Input, tell: &Sender<News>, socket: &mut Option<Socket>) {
        let was = self.machine.status();
        let mut effect = self.machine.step(input, monotonic());
        while let Some(todo) = effect {
            match todo {
                Effect::Close => *socket = None,
                Effect::Connect => self.dial(tell, |spec| News::Dialed(connect(spec).map(Box::new))),
                Effect::Ask => self.dial(tell, |spec| News::Rest(ask(spec))),
            }
            effect = self.machine.step(Input::Time, monotonic());
        }
        let now = self.machine.status();
        if was != now {
            match now {
                StreamState::Stale => self.mark(QualityReason::Stale),
                StreamState::Offline | StreamState::Connecting
                    if was == StreamState::Live || was == StreamState::Fallback =>
                {
                    self.mark(QualityReason::NotConnected);
                }
                _ => {}
            }
            self.tell_change(now);
        }
    }

    fn tell_change(&mut self, now: StreamState) {
        let alert = format!("source.{}", self.id);
        let why = self.machine.reason.clone().unwrap_or_default();
        match now {
            StreamState::Live => {
                log::info!("feed {}: live", self.id);
                self.streams.alerts.clear(&alert, &format!("The feed {} is live.", self.id));
            }
            StreamState::Fallback => log::warn!(
                "feed {}: asking {} instead: {why}",
                self.id,
                shown(self.spec.rest.as_deref().unwrap_or_default())
            ),
            StreamState::Stale | StreamState::Offline => {
                log::warn!("feed {}: {why}; trying again", self.id);
                let message = format!("The feed {} gives nothing: {why}", self.id);
                let guidance = "The last values are kept. Is the network there, and the address right?";
                self.streams.alerts.raise(&alert, Severity::Minor, &message, guidance);
            }
            StreamState::Connecting => {}
        }
    }

    fn dial(&self, tell: &Sender<News>, work: impl FnOnce(&Spec) -> News + Send + 'static) {
        let (spec, tell_it) = (self.spec.clone(), tell.clone());
        let name: String = format!("dial-{}", self.id).chars().take(15).collect();
        let thread = threads::spawn(&name, limits::STACK, move || {
            // Nobody listens any more: the daemon has stopped.
            let _ = tell_it.try_send(work(&spec));
        });
        if let Err(e) = thread {
            let _ = tell.try_send(News::Dialed(Err(format!("no thread: {e}"))));
        }
    }

    /// Reads what is there, for a moment.
    fn listen(&mut self, socket: &mut Socket, pinged: &mut Duration) -> Option<Input> {
        let begun = monotonic();
        let mut heard = None;
        loop {
            match socket.read() {
                Ok(Message::Text(text)) => heard = self.message(text.as_bytes()).or(heard),
                Ok(Message::Binary(bytes)) => heard = self.message(&bytes).or(heard),
                Ok(Message::Close(_)) => return Some(closed("closed by the other side")),
                Ok(_) => {}
                Err(tungstenite::Error::Io(e)) if is_silence(&e) => break,
                Err(e) => return Some(closed(&e.to_string())),
            }
            if monotonic().saturating_sub(begun) >= READ {
                break;
            }
        }
        let now = monotonic();
        if now.saturating_sub(*pinged) >= PING {
            *pinged = now;
            if let Err(e) = socket.send(Message::Ping(Vec::new().into()))
                && !matches!(&e, tungstenite::Error::Io(e) if is_silence(e))
            {
                return Some(closed(&e.to_string()));
            }
        }
        heard
    }

    fn message(&mut self, bytes: &[u8]) -> Option<Input> {
        let message: Value = match serde_json::from_slice(bytes) {
            Ok(message) => message,
            Err(e) => {
                self.refuse(bytes, &format!("is not JSON: {e}"));
                return None;
            }
        };
        let mut heard = None;
        for n in 0..self.lines.len() {
            let Some(line) = self.lines.get_mut(n) else { continue };
            match line.extract.read(&message) {
                Found::Value(value, at) => {
                    line.tick(value, at.unwrap_or_else(Wall::now), &self.streams);
                    heard = Some(Input::Tick);
                    if self.spec.every_tick {
                        line.publish(&self.bus, &self.streams);
                    }
                }
                Found::Other => {}
                Found::Nothing(why) => {
                    line.dropped += 1;
                    self.refuse(bytes, &why);
                }
            }
        }
        if heard.is_some() {
            self.report.seen(Wall::now());
        }
        heard
    }

    fn refuse(&mut self, bytes: &[u8], why: &str) {
        self.bad += 1;
        let text =
            String::from_utf8_lossy(bytes.get(..bytes.len().min(4 * limits::BAD_LINE)).unwrap_or_default());
        let start: String = text.chars().flat_map(char::escape_debug).take(limits::BAD_LINE).collect();
        if self.bad == 1 {
            log::warn!("feed {}: a message {why}: {start}", self.id);
        }
        self.report.detail("last_bad", json!({ "line": start, "why": why, "at": Wall::now() }));
    }

    fn publish_due(&mut self) {
        let (now, interval) = (monotonic(), self.spec.interval);
        for line in &mut self.lines {
            if line.waiting.is_some() && line.published.is_none_or(|at| now.saturating_sub(at) >= interval) {
                line.published = Some(now);
                line.publish(&self.bus, &self.streams);
            }
        }
    }

    /// The last values are no longer current.
    fn mark(&mut self, why: QualityReason) {
        for line in &mut self.lines {
            if let Some(last) = &mut line.last {
                last.quality = if last.value.is_some() { Quality::Uncertain } else { Quality::Bad };
                last.quality_reason = Some(why);
                publish(&self.bus, "stream_value", last);
            }
        }
    }

    fn say_status(&mut self) {
        let (status, now) = (self.machine.status(), monotonic());
        let reason = self.machine.reason.clone().filter(|_| status != StreamState::Live);
        let reconnects = self.machine.reconnects;
        for line in &mut self.lines {
            let new = Some((status, reason.clone()));
            let due = line.said.is_none_or(|at| now.saturating_sub(at) >= limits::FEED_REST);
            if line.status != new || due && line.published.is_some_and(|at| Some(at) > line.said) {
                line.status = new;
                line.said = Some(now);
                publish(
                    &self.bus,
                    "stream_status",
                    &StreamStatus {
                        stream_id: line.rule.id.clone(),
                        name: line.rule.name.clone(),
                        status,
                        reason: reason.clone(),
                        last_seen: line.last.as_ref().map(|l| l.timestamp),
                        reconnects,
                        dropped: line.dropped,
                        ticks: Some(line.ticks),
                        conflated: Some(line.conflated),
                    },
                );
            }
        }
        self.report.state(match status {
            StreamState::Live | StreamState::Fallback => SourceState::Ok,
            StreamState::Stale => SourceState::Stale,
            StreamState::Connecting => SourceState::Opening,
            StreamState::Offline => SourceState::Absent,
        });
        self.report.faults(self.bad, reconnects, reason.as_deref());
        self.report.detail("ticks", self.lines.iter().map(|l| l.ticks).sum::<u64>());
        self.report.flush(&self.bus);
    }
}

impl Line {
    fn tick(&mut self, value: f64, at: Wall, streams: &Streams) {
        self.ticks += 1;
        self.conflated += u64::from(self.waiting.is_some());
        self.waiting = Some((value, at));
        streams.record(&self.rule.id, at, value);
    }

    fn publish(&mut self, bus: &Bus, streams: &Streams) {
        let Some((value, at)) = self.waiting.take() else { return };
        // A value from before a silence or a restart is no neighbour of this one.
        let previous = self.last.as_ref().filter(|l| l.quality == Quality::Good).and_then(|l| l.value);
        let mut next = StreamValue {
            stream_id: self.rule.id.clone(),
            value: Some(value),
            unit: self.rule.unit.clone(),
            timestamp: at,
            quality: Quality::Good,
            quality_reason: None,
            previous,
            change: previous.map(|p| value - p).filter(|c| c.is_finite()),
            limits: None,
            severity: None,
        };
        streams.judge(&mut next);
        publish(bus, "stream_value", &next);
        self.last = Some(next);
    }
}

fn closed(why: &str) -> Input {
    Input::Closed { why: why.to_string(), chance: chance() }
}

fn chance() -> f64 {
    getrandom::u32().map_or(0.5, |n| f64::from(n) / f64::from(u32::MAX))
}

fn is_silence(e: &io::Error) -> bool {
    matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted)
}

/// An address without what may be secret in it.
fn shown(url: &str) -> String {
    let plain = url.split(['?', '#']).next().unwrap_or_default();
    match plain
        .split_once("://")
        .map(|(scheme, rest)| (scheme, rest.rsplit_once('@').map_or(rest, |(_, r)| r)))
    {
        Some((scheme, rest)) => format!("{scheme}://{rest}"),
        None => plain.to_string(),
    }
}

fn connect(spec: &Spec) -> Result<Socket, String> {
    let uri: tungstenite::http::Uri = spec.url.parse().map_err(|e| format!("{}: {e}", shown(&spec.url)))?;
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_string();
    let secure = uri.scheme_str() == Some("wss");
    let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
    let addresses =
        (host.as_str(), port).to_socket_addrs().map_err(|e| format!("{host} is not found: {e}"))?;
    let mut last = format!("{host} has no address");
    let tcp = addresses.into_iter().find_map(|address| match TcpStream::connect_timeout(&address, ANSWER) {
        Ok(tcp) => Some(tcp),
        Err(e) => {
            last = format!("{address}: {e}");
            None
        }
    });
    let tcp = tcp.ok_or(last)?;
    let plain = |e: io::Error| e.to_string();
    tcp.set_nodelay(true).map_err(plain)?;
    tcp.set_read_timeout(Some(ANSWER)).map_err(plain)?;
    tcp.set_write_timeout(Some(ANSWER)).map_err(plain)?;
    let times = tcp.try_clone().map_err(plain)?;
    let wire: Box<dyn Wire> = if secure { secured(tcp, &host)? } else { Box::new(tcp) };
    let config = WebSocketConfig::default()
        .read_buffer_size(16 * 1024)
        .max_message_size(Some(limits::FEED_MESSAGE))
        .max_frame_size(Some(limits::FEED_MESSAGE))
        .max_write_buffer_size(512 * 1024);
    let (mut socket, _) =
        tungstenite::client::client_with_config(uri, wire, Some(config)).map_err(|e| match e {
            tungstenite::HandshakeError::Failure(e) => format!("no WebSocket: {e}"),
            tungstenite::HandshakeError::Interrupted(_) => "no answer to the handshake".to_string(),
        })?;
    for text in &spec.subscribe {
        socket.send(Message::text(text.clone())).map_err(|e| format!("failed to subscribe: {e}"))?;
    }
    times.set_read_timeout(Some(READ)).map_err(plain)?;
    times.set_write_timeout(Some(Duration::from_secs(1))).map_err(plain)?;
    Ok(socket)
}

#[cfg(feature = "tls")]
fn secured(tcp: TcpStream, host: &str) -> Result<Box<dyn Wire>, String> {
    crate::tls::connect(tcp, host).map(|stream| Box::new(stream) as Box<dyn Wire>)
}

#[cfg(not(feature = "tls"))]
fn secured(_: TcpStream, _: &str) -> Result<Box<dyn Wire>, String> {
    Err("this telltale was built without TLS (feature tls): wss is not possible".into())
}

fn ask(spec: &Spec) -> Result<Value, String> {
    let url = spec.rest.as_deref().unwrap_or_default();
    let config = ureq::Agent::config_builder().timeout_global(Some(ANSWER)).max_redirects(0);
    #[cfg(feature = "tls")]
    let config = config.tls_config(crate::tls::config());
    let agent: ureq::Agent = config.build().into();
    let mut answer = agent.get(url).call().map_err(|e| format!("{}: {e}", shown(url)))?;
    let text = answer
        .body_mut()
        .with_config()
        .limit(limits::FEED_MESSAGE as u64)
        .read_to_string()
        .map_err(|e| format!("{}: {e}", shown(url)))?;
    serde_json::from_str(&text).map_err(|e| format!("{} gave no JSON: {e}", shown(url)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_secret_is_not_shown() {
        assert_eq!(shown("wss://me:secret@feed.example/ws?token=abc#x"), "wss://feed.example/ws");
        assert_eq!(shown("http://127.0.0.1:80/a"), "http://127.0.0.1:80/a");
    }
}
