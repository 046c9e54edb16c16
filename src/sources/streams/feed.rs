//! A feed: one WebSocket that gives the values of one or several streams, and REST where it does not.
//!
//! **Promises.** The last good value stays and is said to be old, for each stream by its own time, whatever the others of the
//! connection do; an error is never a zero. What can't be read is counted. A stream's REST address is its own: no other
//! stream takes a value of it, and none comes between the ticks of a socket that is live.
//! **Threads.** One a feed (`feed-N`). Connecting and asking REST may hang in the system's resolver, so each is done
//! by a thread of its own (`dial-N`), one of each kind at a time, which nobody waits for at the end. **Bounds.** A message has
//! one, and so has every wait; a handshake has one in sum, however slowly the other side talks.

use super::Streams;
use super::extract::Found;
use super::line::{Line, Place};
use super::machine::{Effect, Input, Machine};
use crate::bus::Bus;
use crate::clock::Wall;
use crate::config::StreamRule;
use crate::limits;
use crate::model::{QualityReason, Severity, SourceState, StreamState};
use crate::sources::dial;
use crate::sources::inputs::Until;
use crate::sources::monotonic;
use crate::sources::publish::Report;
use crossbeam::channel::{Receiver, Sender, bounded};
use serde_json::{Value, json};
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tungstenite::protocol::WebSocketConfig;
use tungstenite::{Message, WebSocket};

/// How long a read of the socket waits; publishing is not later than that.
const READ: Duration = Duration::from_millis(20);
/// For connecting to an address, for the handshakes in sum, and for an answer of REST.
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
    /// What the REST address with this number said, and whether it was the last one to be asked.
    Rest(usize, Result<Value, String>, bool),
}

/// One feed.
pub struct Feed {
    id: String,
    url: String,
    /// What every stream of it wants said, each once.
    subscribe: Vec<String>,
    /// The REST addresses of its streams, each once.
    rests: Vec<String>,
    lines: Vec<Line>,
    bus: Arc<Bus>,
    streams: Arc<Streams>,
    report: Report,
    machine: Machine,
    /// REST is being asked.
    asking: bool,
    bad: u64,
}

impl Feed {
    /// The feed behind these streams, which have the same address.
    pub fn new(id: String, rules: Vec<StreamRule>, bus: Arc<Bus>, streams: Arc<Streams>) -> Option<Feed> {
        let url = rules.first()?.feed.as_ref()?.url.clone();
        let stale = rules.iter().filter_map(|r| r.stale_after).min().unwrap_or(limits::FEED_STALE);
        let (mut subscribe, mut rests, mut rest_every) = (Vec::new(), Vec::new(), None::<Duration>);
        let mut lines = Vec::new();
        for rule in rules {
            let Some(feed) = rule.feed.as_ref() else { continue };
            for text in &feed.subscribe {
                if !subscribe.contains(text) {
                    subscribe.push(text.clone());
                }
            }
            let mut number = None;
            if let Some(rest) = &feed.rest {
                rest_every =
                    Some(rest_every.map_or(feed.rest_interval, |every| every.min(feed.rest_interval)));
                number = Some(rests.iter().position(|known| known == rest).unwrap_or_else(|| {
                    rests.push(rest.clone());
                    rests.len() - 1
                }));
            }
            streams.fed(&rule.id);
            let last = streams.last(&rule.id);
            lines.extend(Line::new(rule, number, last, monotonic()));
        }
        let mut report = Report::new(&id, "feed", REPORT);
        report.detail("url", shown(&url));
        report.detail("streams", json!(lines.iter().map(Line::id).collect::<Vec<_>>()));
        let machine = Machine::new(stale, rest_every, monotonic());
        Some(Feed { id, url, subscribe, rests, lines, bus, streams, report, machine, asking: false, bad: 0 })
    }

    /// The feed's id as a source.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Serves it until it is over.
    pub(in crate::sources) fn run(mut self, until: &Until) {
        // One connection and one round of REST are under way at most: there is room for all they may say.
        let (tell, news) = bounded(self.rests.len() + 2);
        let mut socket: Option<Socket> = None;
        let mut pinged = monotonic();
        self.say_status();
        loop {
            self.turn(&mut socket, &mut pinged, &tell, &news);
            self.publish_due();
            self.say_status();
            let rest = match socket {
                Some(_) => Duration::ZERO,
                None => self.machine.wake().saturating_sub(monotonic()).clamp(READ, limits::FEED_REST),
            };
            if until.wait(if news.is_empty() { rest.min(READ * 5) } else { Duration::ZERO }) {
                break;
            }
        }
        if !until.daemon.is_stopped() {
            self.report.state(SourceState::Disabled);
            self.report.flush(&self.bus);
            for line in &mut self.lines {
                line.mark(QualityReason::NotConnected, &self.bus, &self.streams);
                self.streams.unfed(line.id());
            }
        }
    }

    /// Hears what has come and does what follows from it: what the socket says first, as that is newer than what anybody else
    /// has brought, who is heard also when the socket never rests.
    fn turn(
        &mut self,
        socket: &mut Option<Socket>,
        pinged: &mut Duration,
        tell: &Sender<News>,
        news: &Receiver<News>,
    ) {
        let said = match socket {
            Some(open) => self.listen(open, pinged),
            None => None,
        };
        if matches!(said, Some(Input::Closed { .. })) {
            *socket = None;
        }
        let is_quiet = said.is_none();
        if let Some(input) = said {
            self.act(input, tell, socket);
        }
        match self.hear(news, socket) {
            Some(input) => self.act(input, tell, socket),
            None if is_quiet => self.act(Input::Time, tell, socket),
            None => {}
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
            News::Rest(number, answer, last) => {
                self.asking &= !last;
                // The socket was faster: what REST says is older than that.
                if self.machine.status() == StreamState::Live {
                    return None;
                }
                match answer {
                    Err(why) => Input::RestFailed(why),
                    Ok(message) => {
                        let mut found = 0;
                        for line in &mut self.lines {
                            found += u32::from(line.rest_answer(number, &message, &self.streams));
                        }
                        if found > 0 {
                            Input::RestTick
                        } else {
                            Input::RestFailed("its answer has no value".into())
                        }
                    }
                }
            }
        })
    }

    fn act(&mut self, input: Input, tell: &Sender<News>, socket: &mut Option<Socket>) {
        let was = self.machine.status();
        let mut effect = self.machine.step(input, monotonic());
        while let Some(todo) = effect {
            let mut next = Input::Time;
            match todo {
                Effect::Close => {
                    *socket = None;
                    next = closed(self.machine.reason.as_deref().unwrap_or("nothing heard"));
                }
                Effect::Connect => {
                    let (url, subscribe) = (self.url.clone(), self.subscribe.clone());
                    let done = self.dial(tell, move |tell| {
                        let outcome = connect(&url, &subscribe, ANSWER).map(Box::new);
                        let _ = tell.try_send(News::Dialed(outcome));
                    });
                    if let Err(e) = done {
                        next = closed(&format!("no thread: {e}"));
                    }
                }
                Effect::Ask if self.asking => {}
                Effect::Ask => {
                    let rests = self.rests.clone();
                    let done = self.dial(tell, move |tell| {
                        for (n, url) in rests.iter().enumerate() {
                            let _ = tell.try_send(News::Rest(n, ask(url), n + 1 == rests.len()));
                        }
                    });
                    match done {
                        Ok(()) => self.asking = true,
                        Err(e) => next = Input::RestFailed(format!("no thread: {e}")),
                    }
                }
            }
            effect = self.machine.step(next, monotonic());
        }
        let now = self.machine.status();
        if was != now {
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
                self.rests.iter().map(|url| shown(url)).collect::<Vec<_>>().join(", ")
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

    /// What it sends when the daemon has stopped is heard by nobody.
    fn dial(&self, tell: &Sender<News>, work: impl FnOnce(&Sender<News>) + Send + 'static) -> io::Result<()> {
        let tell = tell.clone();
        dial::dial(&self.id, move || work(&tell))
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
            match line.read(&message) {
                Found::Value(value, at) => {
                    line.tick(value, at.unwrap_or_else(Wall::now), Place::Socket, &self.streams);
                    line.publish_each(&self.bus, &self.streams);
                    heard = Some(Input::Tick);
                }
                Found::Other => {}
                Found::Nothing(why) => {
                    line.drop_one();
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
        let now = monotonic();
        for line in &mut self.lines {
            line.publish_due(now, &self.bus, &self.streams);
        }
    }

    fn say_status(&mut self) {
        let (status, now) = (self.machine.status(), monotonic());
        let reason = self.machine.reason.clone().filter(|_| status != StreamState::Live);
        let reconnects = self.machine.reconnects;
        for line in &mut self.lines {
            let stands = line.stands(status, self.machine.is_open(), reason.as_deref(), now);
            line.say(stands, reconnects, now, &self.bus, &self.streams);
        }
        self.report.state(match status {
            StreamState::Live | StreamState::Fallback => SourceState::Ok,
            StreamState::Stale => SourceState::Stale,
            StreamState::Connecting => SourceState::Opening,
            StreamState::Offline => SourceState::Absent,
        });
        self.report.faults(self.bad, reconnects, reason.as_deref());
        self.report.detail("ticks", self.lines.iter().map(Line::ticks).sum::<u64>());
        self.report.flush(&self.bus);
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

/// A connection that is given up at a time, whatever trickles in until then, unless what was to be done is done.
struct Limited {
    tcp: TcpStream,
    end: Instant,
    done: Arc<AtomicBool>,
}

impl Limited {
    fn limit(&self) -> io::Result<()> {
        if self.done.load(Ordering::Relaxed) {
            return Ok(());
        }
        let left = self.end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            // As a read says it whose time is over.
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.tcp.set_read_timeout(Some(left))?;
        self.tcp.set_write_timeout(Some(left))
    }
}

impl Read for Limited {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.limit()?;
        self.tcp.read(buffer)
    }
}

impl Write for Limited {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.limit()?;
        self.tcp.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.tcp.flush()
    }
}

/// Opens the socket and says what is to be said; each address has `time` for the connection, all that follows has it in sum.
fn connect(url: &str, subscribe: &[String], time: Duration) -> Result<Socket, String> {
    let uri: tungstenite::http::Uri = url.parse().map_err(|e| format!("{}: {e}", shown(url)))?;
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_string();
    let secure = uri.scheme_str() == Some("wss");
    let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
    let tcp = dial::connect((host.as_str(), port), time).map_err(|e| format!("{host}: {e}"))?;
    let plain = |e: io::Error| e.to_string();
    tcp.set_nodelay(true).map_err(plain)?;
    let times = tcp.try_clone().map_err(plain)?;
    let done = Arc::new(AtomicBool::new(false));
    let limited = Limited { tcp, end: Instant::now() + time, done: Arc::clone(&done) };
    let wire: Box<dyn Wire> = if secure { secured(limited, &host)? } else { Box::new(limited) };
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
    for text in subscribe {
        socket.send(Message::text(text.clone())).map_err(|e| format!("failed to subscribe: {e}"))?;
    }
    done.store(true, Ordering::Relaxed);
    times.set_read_timeout(Some(READ)).map_err(plain)?;
    times.set_write_timeout(Some(Duration::from_secs(1))).map_err(plain)?;
    Ok(socket)
}

#[cfg(feature = "tls")]
fn secured(wire: Limited, host: &str) -> Result<Box<dyn Wire>, String> {
    crate::tls::connect(wire, host).map(|stream| Box::new(stream) as Box<dyn Wire>)
}

#[cfg(not(feature = "tls"))]
fn secured(_: Limited, _: &str) -> Result<Box<dyn Wire>, String> {
    Err("this telltale was built without TLS (feature tls): wss is not possible".into())
}

fn ask(url: &str) -> Result<Value, String> {
    if !cfg!(feature = "tls") && url.starts_with("https:") {
        return Err("this telltale was built without TLS (feature tls): https is not possible".into());
    }
    let config = ureq::Agent::config_builder().timeout_global(Some(ANSWER)).max_redirects(0).proxy(None);
    #[cfg(feature = "tls")]
    let config = config.tls_config(crate::tls::config());
    let agent: ureq::Agent = config.build().into();
    let failed = |e: ureq::Error| {
        let text = e.to_string();
        format!("{}: {}", shown(url), crate::tls::refused(&text).unwrap_or(text))
    };
    let mut answer = agent.get(url).call().map_err(failed)?;
    let body = answer.body_mut().with_config().limit(limits::FEED_MESSAGE as u64);
    let text = body.read_to_string().map_err(failed)?;
    serde_json::from_str(&text).map_err(|e| format!("{} gave no JSON: {e}", shown(url)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alerts::Alerts;
    use crate::config;
    use crate::model::Bands;
    use crate::store::Store;
    use crate::store::crash::Backend;
    use tungstenite::protocol::Role;

    /// A server that sends ticks without a pause.
    struct Endless;

    impl Read for Endless {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            // One short text, as RFC 6455, 5.2 has it.
            let whole = buffer.len() / 3 * 3;
            buffer.iter_mut().zip(b"\x81\x011".iter().cycle()).take(whole).for_each(|(to, from)| *to = *from);
            Ok(whole)
        }
    }

    impl Write for Endless {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// More than 50 ticks a second kept an answer of REST that came late waiting for ever, and with it the end of the feed.
    #[test]
    fn a_socket_that_never_rests_keeps_no_dialler_waiting() {
        let opened = Store::open_backend(Backend::default(), &config::Store::default()).unwrap();
        let bus = Arc::new(Bus::new(opened.start, Arc::default()));
        let streams = Arc::new(Streams {
            bus: Arc::clone(&bus),
            store: Arc::new(opened.store),
            alerts: Arc::new(Alerts::new(Arc::clone(&bus))),
            inner: std::sync::Mutex::default(),
        });
        let source = config::Feed {
            url: "ws://127.0.0.1:1/".into(),
            subscribe: Vec::new(),
            value: String::new(),
            time: None,
            only: None,
            rest: Some("http://127.0.0.1:1/".into()),
            rest_value: None,
            rest_interval: Duration::from_secs(1),
            every_tick: false,
            interval: Duration::from_secs(1),
        };
        let rule = StreamRule {
            id: "a".into(),
            name: None,
            unit: None,
            limits: Bands::default(),
            stale_after: None,
            expire_after: None,
            feed: Some(source),
        };
        let mut feed = Feed::new("feed-1".into(), vec![rule], bus, streams).unwrap();
        let wire: Box<dyn Wire> = Box::new(Endless);
        let mut socket = Some(WebSocket::from_raw_socket(wire, Role::Client, None));
        feed.machine.step(Input::Opened, monotonic());
        let (tell, news) = bounded(3);
        feed.asking = true;
        tell.send(News::Rest(0, Ok(json!(2.0)), true)).unwrap();
        feed.turn(&mut socket, &mut monotonic(), &tell, &news);
        assert!(news.is_empty() && !feed.asking && socket.is_some());
        // The tick was first: what REST says is older.
        assert_eq!((feed.machine.status(), feed.machine.reason.clone()), (StreamState::Live, None));
        feed.lines[0].publish_due(monotonic(), &feed.bus, &feed.streams);
        let value = feed.bus.state_of("stream_value/a").unwrap();
        assert_eq!(serde_json::from_str::<Value>(value.payload()).unwrap()["value"], 1.0);
    }

    /// A server that talks a byte at a time held the connection in its handshake for hours: each byte began the time anew.
    #[test]
    fn a_handshake_that_trickles_is_given_up_in_time() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = |scheme: &str| format!("{scheme}://{}/", listener.local_addr().unwrap());
        for scheme in if cfg!(feature = "tls") { vec!["ws", "wss"] } else { vec!["ws"] } {
            let url = url(scheme);
            let began = Instant::now();
            std::thread::scope(|scope| {
                let taking = scope.spawn(|| {
                    let (mut other, _) = listener.accept().unwrap();
                    // The beginning of an answer, and of a TLS record that is never whole.
                    let begin: &[u8] =
                        if scheme == "ws" { b"HTTP/1.1 101 X\r\nA: " } else { b"\x16\x03\x03\x3f\x00" };
                    let _ = other.write_all(begin);
                    while began.elapsed() < Duration::from_secs(8) && other.write_all(b"a").is_ok() {
                        std::thread::sleep(Duration::from_millis(20));
                    }
                });
                let refused = connect(&url, &[], Duration::from_millis(400)).err().unwrap();
                assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
                // Without trusted certificates on this system it does not begin.
                assert!(
                    refused.starts_with("no answer to the ") || refused.contains("ca-certificates"),
                    "{refused}"
                );
                taking.join().unwrap();
            });
        }
    }

    #[test]
    fn what_may_be_secret_is_not_shown() {
        assert_eq!(shown("wss://me:secret@feed.example/ws?token=abc#x"), "wss://feed.example/ws");
        assert_eq!(shown("http://127.0.0.1:80/a"), "http://127.0.0.1:80/a");
    }
}
