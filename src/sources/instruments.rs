//! Instruments as they are driven: what each has to offer, who has taken it, and requests that are answered.
//!
//! Whoever has an instrument (a serial port, the pins) offers it here under the id of its `instrument_status`, with a
//! channel for requests and a waker; whoever drives it (the runner of scans) claims it and asks. Promises: asking never
//! blocks, every request is answered or its [`Answer`] can be given up; while somebody has claimed an instrument, others
//! are told by whom. Does not: touch hardware, publish, or judge limits (the source does, before it sends a byte).

use super::reading::Reading;
use crate::bus::Command;
use crate::limits;
use crate::model::{Bands, CommandState};
use crossbeam::channel::{Receiver, Sender, TrySendError, bounded};
use serde_json::Value as Json;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// One channel of an instrument, as far as driving it is concerned.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ChannelOffer {
    /// Its name.
    pub name: String,
    /// Its unit.
    pub unit: Option<String>,
    /// It can be set.
    pub settable: bool,
    /// It can be read.
    pub readable: bool,
    /// The least it may be set to.
    pub min: Option<f64>,
    /// The most it may be set to.
    pub max: Option<f64>,
    /// How far a read-back may be from what was set.
    pub tolerance: Option<f64>,
    /// How long a set may take to arrive.
    pub settle: Duration,
    /// Words it takes instead of numbers, such as `on`.
    pub words: Vec<String>,
    /// It says whether it moves.
    pub moves: bool,
    /// Where its value is in order.
    pub bands: Bands,
}

impl ChannelOffer {
    /// Why a number may not be asked of it; see [`outside`].
    pub fn outside(&self, number: f64) -> Option<String> {
        outside(&self.name, number, (self.min, self.max), self.unit.as_deref())
    }
}

/// Why a channel may not be set to this number: `volts 41 V is outside its limits: 0 to 40 V`. None where it may, at the
/// limits too. Limits are the least and the most.
pub fn outside(
    channel: &str,
    number: f64,
    limits: (Option<f64>, Option<f64>),
    unit: Option<&str>,
) -> Option<String> {
    let unit = unit.map(|unit| format!(" {unit}")).unwrap_or_default();
    let range = match limits {
        (Some(min), Some(max)) if number < min || number > max => format!("{min} to {max}{unit}"),
        (Some(min), None) if number < min => format!("at least {min}{unit}"),
        (None, Some(max)) if number > max => format!("at most {max}{unit}"),
        _ => return None,
    };
    Some(format!("{channel} {number}{unit} is outside its limits: {range}"))
}

/// An instrument that can be driven.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Offer {
    /// The id of its `instrument_status`.
    pub id: String,
    /// The name people see.
    pub name: String,
    /// Its channels.
    pub channels: Vec<ChannelOffer>,
    /// It can be told to stop moving.
    pub stops: bool,
    /// It takes raw text ([`Request::Query`]).
    pub queries: bool,
    /// What brings it into a safe state, as the configuration says; empty: nothing is known to.
    pub safe: Vec<String>,
    /// The longest that one exchange with it takes.
    pub timeout: Duration,
    /// It is one that moves, rather than one that measures.
    pub movement: bool,
    /// The pause before each exchange with it.
    pub gap: Duration,
    /// The instruments that all of it belongs to as well: whoever has one of them has this one too. A pin under its own id
    /// names the instrument that it is a channel of.
    pub same_as: Vec<String>,
}

impl Offer {
    /// The channel of that name.
    pub fn channel(&self, name: &str) -> Option<&ChannelOffer> {
        self.channels.iter().find(|channel| channel.name == name)
    }
}

/// What a channel is set to.
#[derive(Clone, Debug, PartialEq)]
pub enum Setting {
    /// A number in the channel's unit.
    Number(f64),
    /// One of its words.
    Word(String),
}

/// What an instrument is asked.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    /// Set a channel; answered when it has arrived: its done flag fell after it rose, where there is one, its read-back
    /// is within the tolerance, and the instrument reports no error.
    Set {
        /// Which.
        channel: String,
        /// To what.
        to: Setting,
        /// Instead of the channel's own.
        tolerance: Option<f64>,
        /// Instead of the channel's own `settle`.
        within: Option<Duration>,
        /// False: answered as soon as the instrument took it.
        arrive: bool,
    },
    /// Set several channels, one after the other without waiting; answered when all have arrived.
    Move {
        /// Which, and to what.
        to: Vec<(String, Setting)>,
        /// Instead of the longest `settle` of the channels.
        within: Option<Duration>,
    },
    /// Read these channels now, not from memory. The readings are published as well.
    Read {
        /// Which.
        channels: Vec<String>,
    },
    /// Send this text and give the answer, if it is a question.
    Query(String),
    /// Stop moving; goes before all else that waits. Sets that are on their way end as `stopped_externally`.
    Stop,
    /// Send what brings it into a safe state; goes first and ends sets, as [`Request::Stop`] does.
    Safe,
    /// Clear its errors.
    ClearError,
}

impl Setting {
    /// A setting as JSON says it; true and false are `on` and `off` where the channel has these words, else 1 and 0.
    ///
    /// # Errors
    /// What was there and what was expected, where it can be neither.
    pub fn of(value: &Json, words: &[String]) -> Result<Setting, String> {
        match value {
            Json::Number(n) => n.as_f64().filter(|n| n.is_finite()).map(Setting::Number),
            Json::String(text) => Some(Setting::Word(text.trim().to_string())),
            Json::Bool(on) => {
                let word = if *on { "on" } else { "off" };
                let known = words.iter().any(|w| w.eq_ignore_ascii_case(word));
                Some(match known {
                    true => Setting::Word(word.to_string()),
                    false => Setting::Number(f64::from(u8::from(*on))),
                })
            }
            _ => None,
        }
        .ok_or_else(|| format!("`value` is {}; expected a number or a word", shortened(&value.to_string())))
    }
}

impl std::fmt::Display for Setting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Setting::Number(n) => n.fmt(f),
            Setting::Word(word) => write!(f, "{:?}", shortened(word)),
        }
    }
}

impl Request {
    /// What a command asks of an instrument: `set {"channel","value"}`, `move {"target":{...}}`, `query {"text"}`, `stop`,
    /// `safe`, `clear_error`.
    ///
    /// # Errors
    /// One sentence: what was sent and what was expected.
    pub fn of(command: &Command, offer: &Offer) -> Result<Request, String> {
        let setting = |channel: &str, value: &Json| {
            Setting::of(value, offer.channel(channel).map(|c| &c.words[..]).unwrap_or_default())
        };
        let of = |name: &str| command.params.get(name);
        Ok(match command.action.as_str() {
            "set" => {
                let channel = of("channel").and_then(Json::as_str).unwrap_or_default().to_string();
                let to = setting(&channel, of("value").unwrap_or(&Json::Null))?;
                Request::Set { channel, to, tolerance: None, within: None, arrive: true }
            }
            "move" => {
                let Some(Json::Object(target)) =
                    of("target").filter(|t| t.as_object().is_some_and(|t| !t.is_empty()))
                else {
                    return Err(format!(
                        "`target` is {}; expected channels and values, such as {{\"x\": 15.0}}",
                        of("target").map_or("missing".into(), |t| shortened(&t.to_string()))
                    ));
                };
                let to =
                    target.iter().map(|(channel, value)| Ok((channel.clone(), setting(channel, value)?)));
                Request::Move { to: to.collect::<Result<_, String>>()?, within: None }
            }
            "query" => {
                let text = of("text").or(of("command")).and_then(Json::as_str).unwrap_or_default().trim();
                Request::Query(text.to_string())
            }
            "stop" => Request::Stop,
            "safe" => Request::Safe,
            "clear_error" => Request::ClearError,
            other => return Err(format!("an instrument has no {other:?}")),
        })
    }
}

fn shortened(text: &str) -> String {
    text.chars().take(limits::BAD_LINE).collect()
}

/// How a request ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// `completed`, `rejected` (nothing was sent), `failed` or `timed_out`.
    pub state: CommandState,
    /// What was read: the channels of a `Read`, the read-back of a `Set`.
    pub readings: Vec<Reading>,
    /// The answer of a query.
    pub text: Option<String>,
    /// One sentence, where it was not completed: what was sent, what came back. It begins with the code of a [`Failure`]
    /// and a colon where one of them says why.
    pub reason: Option<String>,
}

/// Why a set or a move did not arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Somebody told it to stop, or it stopped far from where it was sent.
    StoppedExternally,
    /// It is outside its limits.
    Limit,
    /// It came to rest outside its tolerance.
    NotInTolerance,
    /// It did not answer, or was not there in time.
    Timeout,
    /// It reports an error, or is not there.
    DeviceError,
}

impl Failure {
    /// Its name on the wire.
    pub fn code(self) -> &'static str {
        match self {
            Failure::StoppedExternally => "stopped_externally",
            Failure::Limit => "limit",
            Failure::NotInTolerance => "not_in_tolerance",
            Failure::Timeout => "timeout",
            Failure::DeviceError => "device_error",
        }
    }
}

impl Outcome {
    /// It is done, and this was read.
    pub fn done(readings: Vec<Reading>) -> Outcome {
        Outcome { state: CommandState::Completed, readings, text: None, reason: None }
    }

    /// It is not.
    pub fn not(state: CommandState, reason: impl Into<String>) -> Outcome {
        Outcome { state, readings: Vec::new(), text: None, reason: Some(reason.into()) }
    }
}

/// A request on its way to the source of its instrument.
#[derive(Debug)]
pub struct Asked {
    /// What is wanted.
    pub request: Request,
    /// Takes the outcome; nobody may be waiting for it any more.
    pub reply: Sender<Outcome>,
    /// Disconnected once nobody waits: what has not been sent is not sent any more.
    pub given_up: Receiver<()>,
}

/// The outcome of a request, some time. Dropping it gives the request up.
#[derive(Debug)]
pub struct Answer {
    /// The outcome comes here.
    pub from: Receiver<Outcome>,
    /// Disconnects when the answer is dropped.
    _given_up: Sender<()>,
}

impl Asked {
    /// Whether nobody waits for it any more.
    pub fn is_given_up(&self) -> bool {
        matches!(self.given_up.try_recv(), Err(crossbeam::channel::TryRecvError::Disconnected))
    }
}

/// Wakes the source that has a request waiting.
pub type Wake = Arc<dyn Fn() + Send + Sync>;

/// An instrument that is not free.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InUse {
    /// Which.
    pub instrument: String,
    /// Who has it, such as `SCAN_003`.
    pub by: String,
}

/// Who answers what an instrument is asked.
#[derive(Clone)]
enum To {
    /// A thread that has to be woken.
    Thread(Sender<Asked>, Wake),
    /// Whoever asks: the answer is at hand.
    Here(Arc<dyn Fn(&Request) -> Outcome + Send + Sync>),
}

#[derive(Default)]
struct Inner {
    offers: BTreeMap<String, (Offer, To)>,
    /// Who has which instrument.
    claims: BTreeMap<String, String>,
    /// What an instrument is a part of. Kept as claims are while it is withdrawn, as a reload does.
    same: BTreeMap<String, Vec<String>>,
    /// Told of each change of a claim: the instrument, and who has it now.
    on_claim: Vec<ClaimWatch>,
}

/// Told of a claim: the instrument, and who has it now.
type ClaimWatch = Arc<dyn Fn(&str, Option<&str>) + Send + Sync>;

impl Inner {
    fn insert(&mut self, offer: Offer, to: To) {
        if offer.same_as.is_empty() {
            self.same.remove(&offer.id);
        } else {
            self.same.insert(offer.id.clone(), offer.same_as.clone());
        }
        self.offers.insert(offer.id.clone(), (offer, to));
    }

    /// The instruments that all of this one belongs to.
    fn wholes(&self, id: &str) -> &[String] {
        self.same.get(id).map(Vec::as_slice).unwrap_or_default()
    }

    /// The instruments that belong to this one as a whole.
    fn parts<'a>(&'a self, id: &'a str) -> impl Iterator<Item = &'a String> {
        self.same.iter().filter(move |(_, wholes)| wholes.iter().any(|whole| whole == id)).map(|(id, _)| id)
    }

    fn used_by(&self, id: &str) -> Option<&String> {
        self.claims.get(id).or_else(|| self.wholes(id).iter().find_map(|whole| self.claims.get(whole)))
    }

    /// Who else has any of its hardware.
    fn other(&self, id: &str, by: &str) -> Option<&String> {
        let own = self.claims.get(id).into_iter();
        let wholes = self.wholes(id).iter().filter_map(|whole| self.claims.get(whole));
        let parts = self.parts(id).filter_map(|part| self.claims.get(part));
        own.chain(wholes).chain(parts).find(|other| *other != by)
    }

    /// These, and what they have along with them.
    fn with_parts(&self, ids: &[String]) -> Vec<String> {
        let mut all: BTreeSet<&String> = ids.iter().collect();
        all.extend(ids.iter().flat_map(|id| self.parts(id)));
        all.into_iter().cloned().collect()
    }
}

/// See the module above.
#[derive(Default)]
pub struct Instruments {
    inner: Mutex<Inner>,
    /// Held while it is told who has an instrument, from looking who it is until it is published.
    pub(super) telling: Mutex<()>,
}

impl Instruments {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Requests for this instrument go to `to` from now on; `wake` is called after each.
    pub fn offer(&self, offer: Offer, to: Sender<Asked>, wake: Wake) {
        self.lock().insert(offer, To::Thread(to, wake));
    }

    /// What this instrument is asked is answered by `answer` at once, in the thread of whoever asks: it neither blocks nor
    /// does I/O.
    pub fn offer_known(&self, offer: Offer, answer: impl Fn(&Request) -> Outcome + Send + Sync + 'static) {
        self.lock().insert(offer, To::Here(Arc::new(answer)));
    }

    /// The instrument takes no more requests.
    pub fn withdraw(&self, id: &str) {
        self.lock().offers.remove(id);
    }

    /// Every instrument that can be driven.
    pub fn list(&self) -> Vec<Offer> {
        self.lock().offers.values().map(|(offer, _)| offer.clone()).collect()
    }

    /// One of them.
    pub fn find(&self, id: &str) -> Option<Offer> {
        self.lock().offers.get(id).map(|(offer, _)| offer.clone())
    }

    /// Calls `told` with every change of a claim, without any lock.
    pub fn on_claim(&self, told: impl Fn(&str, Option<&str>) + Send + Sync + 'static) {
        self.lock().on_claim.push(Arc::new(told));
    }

    /// Takes all of these, or none.
    ///
    /// # Errors
    /// The first of which somebody else has any, under whichever of its ids.
    pub fn claim(&self, ids: &[String], by: &str) -> Result<(), InUse> {
        let (taken, watches) = {
            let mut inner = self.lock();
            for id in ids {
                if let Some(other) = inner.other(id, by) {
                    return Err(InUse { instrument: id.clone(), by: other.clone() });
                }
            }
            for id in ids {
                inner.claims.insert(id.clone(), by.to_string());
            }
            (inner.with_parts(ids), inner.on_claim.clone())
        };
        for id in &taken {
            watches.iter().for_each(|told| told(id, Some(by)));
        }
        Ok(())
    }

    /// Gives back all that `by` has.
    pub fn release(&self, by: &str) {
        let (freed, watches) = {
            let mut inner = self.lock();
            let freed: Vec<String> =
                inner.claims.iter().filter(|(_, who)| *who == by).map(|(id, _)| id.clone()).collect();
            for id in &freed {
                inner.claims.remove(id);
            }
            (inner.with_parts(&freed), inner.on_claim.clone())
        };
        for id in &freed {
            watches.iter().for_each(|told| told(id, None));
        }
    }

    /// Who has this instrument, all of it.
    pub fn used_by(&self, id: &str) -> Option<String> {
        self.lock().used_by(id).cloned()
    }

    /// Hands a request to the instrument.
    ///
    /// # Errors
    /// One sentence: it is not there, or has too much to do.
    pub fn ask(&self, id: &str, request: Request) -> Result<Answer, String> {
        let found = self.lock().offers.get(id).map(|(_, to)| to.clone());
        let (reply, from) = bounded(1);
        let (hold, given_up) = bounded(0);
        let (to, wake) = match found {
            None => return Err(format!("{id} is no instrument that can be asked now")),
            Some(To::Here(answer)) => {
                let _ = reply.try_send(answer(&request));
                return Ok(Answer { from, _given_up: hold });
            }
            Some(To::Thread(to, wake)) => (to, wake),
        };
        match to.try_send(Asked { request, reply, given_up }) {
            Ok(()) => {
                wake();
                Ok(Answer { from, _given_up: hold })
            }
            Err(TrySendError::Full(_)) => {
                Err(format!("{id} has {} requests waiting already", limits::INSTRUMENT_COMMANDS))
            }
            Err(TrySendError::Disconnected(_)) => Err(format!("{id} is not there any more")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offered(instruments: &Instruments, id: &str) -> Receiver<Asked> {
        let (to, from) = bounded(2);
        instruments.offer(Offer { id: id.into(), ..Offer::default() }, to, Arc::new(|| ()));
        from
    }

    #[test]
    fn requests_reach_who_offered_and_can_be_given_up() {
        let instruments = Instruments::default();
        assert!(instruments.ask("psu", Request::Stop).unwrap_err().contains("no instrument"));
        let asked = offered(&instruments, "psu");
        let answer = instruments.ask("psu", Request::Query("*IDN?".into())).unwrap();
        let request = asked.recv().unwrap();
        assert!(!request.is_given_up());
        let outcome =
            Outcome { state: CommandState::Completed, readings: Vec::new(), text: None, reason: None };
        request.reply.send(outcome.clone()).unwrap();
        assert_eq!(answer.from.recv().unwrap(), outcome);
        drop(instruments.ask("psu", Request::Stop).unwrap());
        assert!(asked.recv().unwrap().is_given_up());
        let _first = instruments.ask("psu", Request::Stop).unwrap();
        let _second = instruments.ask("psu", Request::Stop).unwrap();
        assert!(instruments.ask("psu", Request::Stop).unwrap_err().contains("waiting"));
        instruments.withdraw("psu");
        assert!(instruments.find("psu").is_none());
    }

    #[test]
    fn a_claim_is_of_all_or_none() {
        let instruments = Instruments::default();
        let told = Arc::new(Mutex::new(Vec::new()));
        let book = Arc::clone(&told);
        instruments.on_claim(move |id, by| {
            book.lock().unwrap().push((id.to_string(), by.map(str::to_string)));
        });
        let ids = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(instruments.claim(&ids(&["psu", "dmm"]), "SCAN_001"), Ok(()));
        let refused = instruments.claim(&ids(&["stage", "dmm"]), "SCAN_002").unwrap_err();
        assert_eq!((refused.instrument.as_str(), refused.by.as_str()), ("dmm", "SCAN_001"));
        assert_eq!(instruments.used_by("stage"), None);
        assert_eq!(instruments.used_by("psu").as_deref(), Some("SCAN_001"));
        instruments.release("SCAN_001");
        assert_eq!(instruments.claim(&ids(&["dmm"]), "SCAN_002"), Ok(()));
        let seen = told.lock().unwrap().len();
        assert_eq!(seen, 5);
    }

    /// A pin has the id of its own and is a channel of an instrument: two scans had it at one time.
    #[test]
    fn what_is_a_part_of_another_is_not_claimed_beside_it() {
        let instruments = Instruments::default();
        let (to, _from) = bounded(1);
        let offer = |id: &str, same_as: &[&str]| {
            let same_as = same_as.iter().map(ToString::to_string).collect();
            let offer = Offer { id: id.into(), same_as, ..Offer::default() };
            instruments.offer(offer, to.clone(), Arc::new(|| ()));
        };
        offer("rig", &[]);
        offer("valve", &["rig"]);
        offer("fan", &["rig"]);
        let told = Arc::new(Mutex::new(Vec::new()));
        let book = Arc::clone(&told);
        instruments.on_claim(move |id, by| {
            book.lock().unwrap().push((id.to_string(), by.map(str::to_string)));
        });
        let claim = |id: &str, by: &str| instruments.claim(&[id.to_string()], by);
        let by = |id: &str| instruments.used_by(id);
        assert_eq!(claim("valve", "A"), Ok(()));
        // One pin of several: the rest of the rig is free, all of it is not.
        assert_eq!((by("valve").as_deref(), by("rig"), by("fan")), (Some("A"), None, None));
        assert_eq!(claim("fan", "B"), Ok(()));
        assert_eq!(claim("rig", "B"), Err(InUse { instrument: "rig".into(), by: "A".into() }));
        assert_eq!(claim("rig", "A").unwrap_err().by, "B");
        instruments.release("B");
        assert_eq!(claim("rig", "A"), Ok(()), "it is its own");
        assert_eq!(claim("fan", "B").unwrap_err().by, "A");
        assert_eq!(by("fan").as_deref(), Some("A"));
        // A reload takes them away for a moment.
        instruments.withdraw("fan");
        assert_eq!(claim("fan", "B").unwrap_err().by, "A");
        offer("fan", &[]);
        assert_eq!(claim("fan", "B"), Ok(()), "it is no channel of the rig any more");
        told.lock().unwrap().clear();
        instruments.release("A");
        let freed: Vec<String> = told.lock().unwrap().iter().map(|(id, _)| id.clone()).collect();
        assert_eq!(freed, ["rig", "valve"]);
    }
}
