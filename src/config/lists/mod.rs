//! The `[[lists]]` of the file: one file each, which has the entry as the file writes it, its keys, how it is read and
//! weighed, and how it is written back. A new list is a file here and a line in [`LISTS`].

mod alert;
mod gpio;
pub(super) mod modbus;
pub(super) mod nmea;
mod ntfy;
mod recorder;
pub(super) mod scpi;
mod serial;
mod service;
mod stream;
mod webhook;

pub use self::alert::{AlertLimits, AlertRule, AlertTest, AlertWhen};
pub use self::ntfy::Ntfy;
pub use self::webhook::{AlertFilter, Webhook};

use super::file::{Ids, Reader};
use super::print::Row;
use super::types::{Config, Sink};
use toml::Spanned;
use toml::de::DeValue;

/// Takes a heading and its rows of keys.
pub(super) type Tell<'a> = &'a mut dyn FnMut(&str, &[Row]);

/// One kind of `[[list]]`.
pub(super) struct List {
    /// Its name in the file.
    pub name: &'static str,
    /// Section and name of its keys, for suggestions.
    pub keys: fn() -> Vec<(&'static str, &'static str)>,
    /// Reads and weighs it into the configuration.
    pub read: fn(&mut Reader<'_>, &Spanned<DeValue<'_>>, &mut Config, &mut Ids),
    /// Writes what is configured as it would be read.
    pub write: fn(&Config, &mut String),
    /// Its keys for the documentation.
    pub tell: fn(Tell<'_>),
    /// Whether it differs between two configurations.
    pub changed: fn(&Config, &Config) -> bool,
}

/// Every list.
#[rustfmt::skip]
pub(super) static LISTS: &[List] = &[
    gpio::LIST,
    serial::LIST,
    service::LIST,
    recorder::LIST,
    stream::LIST,
    alert::LIST,
    webhook::LIST,
    ntfy::LIST,
];

fn sink_of<'a>(
    sink: &Sink,
    [recorder, instrument, stream, topic]: [&'a mut Option<String>; 4],
) -> &'a mut Option<String> {
    match sink {
        Sink::Recorder(_) => recorder,
        Sink::Instrument(_) => instrument,
        Sink::Stream(_) => stream,
        Sink::Topic(_) => topic,
    }
}

fn sink_text(sink: &Sink) -> String {
    let (Sink::Recorder(id) | Sink::Instrument(id) | Sink::Stream(id) | Sink::Topic(id)) = sink;
    id.clone()
}
