//! What the HTTP layer is given, what its threads share, and its start and stop.

use super::Times;
use super::access::{Doors, Logins};
use super::body::Budget;
use super::listener::{Caps, Register, Waker, accept, listen};
use crate::alerts::Alerts;
use crate::bus::{Bus, Commands};
use crate::config::{Access, Changes, Config, ConfigError, Editor};
use crate::keys::Keys;
use crate::limits;
use crate::metrics::Metrics;
use crate::push::Push;
use crate::runner::Lab;
use crate::sources::detections::Detections;
use crate::sources::recordings::Recordings;
use crate::sources::signals::Signals;
use crate::sources::{BenchControl, Halt, Instruments, Jobs, Recorders};
use crate::store::Store;
use crate::threads;
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::thread::JoinHandle;

/// Tells whether the daemon can do its work; the error is one sentence.
pub type Ready = Arc<dyn Fn() -> Result<(), String> + Send + Sync>;

/// Has the configuration read again, as SIGHUP does, and waits for that; the error is every fault.
pub type Reload = Arc<dyn Fn() -> Result<Changes, Vec<ConfigError>> + Send + Sync>;

/// What the HTTP layer works with.
pub struct Parts {
    /// The settings.
    pub config: Arc<Config>,
    /// Where events are published.
    pub bus: Arc<Bus>,
    /// Where what happened is read back.
    pub store: Arc<Store>,
    /// Who serves streams and polls.
    pub push: Arc<Push>,
    /// Where commands go.
    pub commands: Arc<Commands>,
    /// The alerts.
    pub alerts: Arc<Alerts>,
    /// What stops everything.
    pub halt: Arc<Halt>,
    /// The instruments that can be driven.
    pub instruments: Arc<Instruments>,
    /// Who may act.
    pub keys: Arc<Keys>,
    /// The recordings; they may be off.
    pub recordings: Arc<Recordings>,
    /// Where what is posted of recorders goes.
    pub recorders: Arc<Recorders>,
    /// Where what is posted of jobs goes.
    pub jobs: Arc<Jobs>,
    /// The streams, which have a history.
    pub streams: Arc<crate::sources::streams::Streams>,
    /// The detections, which can be filtered and summed up.
    pub detections: Arc<Detections>,
    /// The signals, which number and judge what is posted.
    pub signals: Arc<Signals>,
    /// Queues and scans.
    pub lab: Arc<Lab>,
    /// The simulated bench, when there is one.
    pub bench: Option<Arc<dyn BenchControl>>,
    /// Asked by `/readyz`.
    pub ready: Ready,
    /// The configuration file.
    pub editor: Editor,
    /// Asked when it was changed.
    pub reload: Reload,
}

/// What every connection shares.
pub(crate) struct Shared {
    pub parts: Parts,
    pub access: RwLock<Access>,
    pub doors: Doors,
    pub logins: Logins,
    pub caps: Caps,
    pub times: Times,
    pub register: Arc<Register>,
    pub waker: Waker,
    pub bodies: Budget,
    pub streams: Streams,
    /// Scans that are being played back.
    pub playbacks: AtomicUsize,
    pub no_thread: AtomicBool,
    stopping: AtomicBool,
}

impl Shared {
    pub fn metrics(&self) -> &Metrics {
        &self.parts.bus.metrics
    }

    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }
}

/// Open streams, in sum and by address.
#[derive(Default)]
pub(crate) struct Streams(Mutex<(usize, HashMap<IpAddr, usize>)>);

/// Holds a place among the streams until dropped.
pub(crate) struct Place {
    shared: Arc<Shared>,
    address: IpAddr,
}

impl Streams {
    /// Takes a place; none when all are taken, or too many by this address.
    pub fn take(shared: &Arc<Shared>, address: IpAddr) -> Option<Place> {
        let address = super::listener::group(address);
        let mut streams = shared.streams.0.lock().unwrap_or_else(|e| e.into_inner());
        let (sum, by_address) = &mut *streams;
        let own = by_address.get(&address).copied().unwrap_or(0);
        if *sum >= shared.caps.streams || (!address.is_loopback() && own >= shared.caps.per_address) {
            return None;
        }
        *sum += 1;
        by_address.insert(address, own + 1);
        drop(streams);
        Some(Place { shared: Arc::clone(shared), address })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut streams = self.shared.streams.0.lock().unwrap_or_else(|e| e.into_inner());
        let (sum, by_address) = &mut *streams;
        *sum -= 1;
        if let Some(own) = by_address.get_mut(&self.address) {
            *own -= 1;
            if *own == 0 {
                by_address.remove(&self.address);
            }
        }
    }
}

/// The running HTTP layer.
pub struct Server {
    shared: Arc<Shared>,
    accept: Option<JoinHandle<()>>,
    addr: SocketAddr,
}

impl Server {
    /// Listens and serves.
    ///
    /// # Errors
    /// When the address can't be listened on.
    pub fn start(parts: Parts) -> io::Result<Server> {
        let listener = listen(parts.config.listen)?;
        let addr = listener.local_addr()?;
        let shared = Arc::new(Shared {
            access: RwLock::new(parts.config.access.clone()),
            doors: Doors::new(&parts.config.http),
            logins: Logins::default(),
            caps: Caps::fit(&parts.config.http),
            times: Times::from_environment(),
            register: Arc::default(),
            waker: Waker::new()?,
            bodies: Budget::default(),
            streams: Streams::default(),
            playbacks: AtomicUsize::new(0),
            no_thread: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            parts,
        });
        let theirs = Arc::clone(&shared);
        let accept = threads::spawn("accept", limits::STACK, move || accept(&theirs, &listener))?;
        Ok(Server { shared, accept: Some(accept), addr })
    }

    /// Where it listens; the real port where 0 was asked for.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Swaps who may do what; counts from the next request on.
    pub fn set_access(&self, access: Access) {
        *self.shared.access.write().unwrap_or_else(|e| e.into_inner()) = access;
    }

    /// Takes no more connections, ends those there are, joins every thread. Streams are the push layer's to end.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        let Some(accept) = self.accept.take() else { return };
        self.shared.stopping.store(true, Ordering::Relaxed);
        self.shared.waker.wake();
        threads::join(accept);
        self.shared.register.close(limits::STOP_TIME / 4);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}
