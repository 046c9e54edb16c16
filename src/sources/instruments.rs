//! Instruments as they are driven: what each has to offer, who has taken it, and requests that are answered.
//!
//! Whoever has an instrument (a serial port, the pins) offers it here under the id of its `instrument_status`, with a
//! channel for requests and a waker; whoever drives it (the runner of scans) claims it and asks. Promises: asking never
//! blocks, every request is answered or its [`Answer`] can be given up; while somebody has claimed an instrument, others
//! are told by whom. Does not: touch hardware, publish, or judge limits (the source does, before it sends a byte).

use super::reading::Reading;
use crate::limits;
use crate::model::CommandState;
use crossbeam::channel::{Receiver, Sender, TrySendError, bounded};
use std::collections::BTreeMap;
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
    /// Read these channels now, not from memory. The readings are published as well.
    Read {
        /// Which.
        channels: Vec<String>,
    },
    /// Send this text and give the answer, if it is a question.
    Query(String),
    /// Stop moving.
    Stop,
    /// Send what brings it into a safe state.
    Safe,
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
    /// One sentence, where it was not completed: which instrument, what was sent, what came back.
    pub reason: Option<String>,
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

#[derive(Default)]
struct Inner {
    offers: BTreeMap<String, (Offer, Sender<Asked>, Wake)>,
    /// Who has which instrument.
    claims: BTreeMap<String, String>,
    /// Told of each change of a claim: the instrument, and who has it now.
    on_claim: Vec<ClaimWatch>,
}

/// Told of a claim: the instrument, and who has it now.
type ClaimWatch = Arc<dyn Fn(&str, Option<&str>) + Send + Sync>;

/// See the module above.
#[derive(Default)]
pub struct Instruments(Mutex<Inner>);

impl Instruments {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Requests for this instrument go to `to` from now on; `wake` is called after each.
    pub fn offer(&self, offer: Offer, to: Sender<Asked>, wake: Wake) {
        self.lock().offers.insert(offer.id.clone(), (offer, to, wake));
    }

    /// The instrument takes no more requests.
    pub fn withdraw(&self, id: &str) {
        self.lock().offers.remove(id);
    }

    /// Every instrument that can be driven.
    pub fn list(&self) -> Vec<Offer> {
        self.lock().offers.values().map(|(offer, ..)| offer.clone()).collect()
    }

    /// One of them.
    pub fn find(&self, id: &str) -> Option<Offer> {
        self.lock().offers.get(id).map(|(offer, ..)| offer.clone())
    }

    /// Calls `told` with every change of a claim, without any lock.
    pub fn on_claim(&self, told: impl Fn(&str, Option<&str>) + Send + Sync + 'static) {
        self.lock().on_claim.push(Arc::new(told));
    }

    /// Takes all of these, or none.
    ///
    /// # Errors
    /// The first that somebody else has.
    pub fn claim(&self, ids: &[String], by: &str) -> Result<(), InUse> {
        let watches = {
            let mut inner = self.lock();
            for id in ids {
                if let Some(other) = inner.claims.get(id).filter(|other| *other != by) {
                    return Err(InUse { instrument: id.clone(), by: other.clone() });
                }
            }
            for id in ids {
                inner.claims.insert(id.clone(), by.to_string());
            }
            inner.on_claim.clone()
        };
        for id in ids {
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
            (freed, inner.on_claim.clone())
        };
        for id in &freed {
            watches.iter().for_each(|told| told(id, None));
        }
    }

    /// Who has this instrument.
    pub fn used_by(&self, id: &str) -> Option<String> {
        self.lock().claims.get(id).cloned()
    }

    /// Hands a request to the instrument.
    ///
    /// # Errors
    /// One sentence: it is not there, or has too much to do.
    pub fn ask(&self, id: &str, request: Request) -> Result<Answer, String> {
        let found = self.lock().offers.get(id).map(|(_, to, wake)| (to.clone(), Arc::clone(wake)));
        let Some((to, wake)) = found else {
            return Err(format!("{id} is no instrument that can be asked now"));
        };
        let (reply, from) = bounded(1);
        let (hold, given_up) = bounded(0);
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
}
