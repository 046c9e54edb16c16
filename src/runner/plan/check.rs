//! What a description asks for, against what the bench has.

use super::fields::{Faults, Fields, nearest, shown};
use super::{ChannelRef, Values};
use crate::sources::{ChannelOffer, Offer, Setting, outside};
use serde_json::Value;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

/// What there is to scan with.
pub trait Bench {
    /// What the instrument of this id has to offer.
    fn instrument(&self, id: &str) -> Option<Offer>;
    /// Whether there is an output pin of this id.
    fn is_output(&self, gpio: &str) -> bool;
    /// The ids of all of them, for a hint in a fault.
    fn names(&self) -> Vec<String> {
        Vec::new()
    }
}

/// The bench, and what the description has used of it.
pub(super) struct Check<'a> {
    bench: &'a dyn Bench,
    pub(super) faults: &'a Faults,
    offers: RefCell<BTreeMap<String, Option<Offer>>>,
    pub(super) used: RefCell<BTreeSet<String>>,
    pub(super) units: RefCell<BTreeMap<ChannelRef, String>>,
}

/// A channel of the description that is there.
pub(super) struct Found {
    pub(super) channel: ChannelRef,
    pub(super) offer: ChannelOffer,
}

impl<'a> Check<'a> {
    pub(super) fn new(bench: &'a dyn Bench, faults: &'a Faults) -> Check<'a> {
        Check {
            bench,
            faults,
            offers: RefCell::default(),
            used: RefCell::default(),
            units: RefCell::default(),
        }
    }

    /// The instrument of that id; asked of the bench once.
    pub(super) fn instrument(&self, id: &str) -> Option<Offer> {
        self.offers.borrow_mut().entry(id.to_string()).or_insert_with(|| self.bench.instrument(id)).clone()
    }

    /// A channel such as `psu.voltage`. Both ids and channels may have dots in them.
    pub(super) fn channel(&self, text: &str, field: &str) -> Option<Found> {
        let cuts: Vec<(&str, &str)> = text
            .match_indices('.')
            .map(|(at, _)| (&text[..at], &text[at + 1..]))
            .filter(|(instrument, channel)| !instrument.is_empty() && !channel.is_empty())
            .collect();
        let there = cuts.iter().find_map(|(instrument, channel)| {
            let offer = self.instrument(instrument)?.channel(channel)?.clone();
            Some((ChannelRef { instrument: instrument.to_string(), channel: channel.to_string() }, offer))
        });
        if let Some((channel, offer)) = there {
            self.used.borrow_mut().insert(channel.instrument.clone());
            if let Some(unit) = &offer.unit {
                self.units.borrow_mut().insert(channel.clone(), unit.clone());
            }
            return Some(Found { channel, offer });
        }
        let whole = super::fields::shorten(text);
        if let Some((id, offer)) =
            cuts.iter().find_map(|(instrument, _)| Some((instrument, self.instrument(instrument)?)))
        {
            let known: Vec<&str> = offer.channels.iter().map(|channel| channel.name.as_str()).collect();
            let wanted = &text[id.len() + 1..];
            let meant = nearest(wanted, &known).map(|name| format!("; did you mean {id}.{name}?"));
            let detail = meant.unwrap_or_else(|| format!("; it has {}", listed(&known)));
            self.faults.add(field, "unknown_channel", format!("{id} has no channel {wanted:?}{detail}"));
        } else if let Some(offer) = self.instrument(text) {
            let known: Vec<&str> = offer.channels.iter().map(|channel| channel.name.as_str()).collect();
            self.faults.add(
                field,
                "unknown_channel",
                format!("{whole:?} is an instrument; write instrument.channel, it has {}", listed(&known)),
            );
        } else if let Some((id, _)) = cuts.last() {
            self.faults.add(
                field,
                "unknown_instrument",
                format!("there is no instrument {id:?}{}", self.meant(id)),
            );
        } else {
            self.faults.add(
                field,
                "unknown_instrument",
                format!("{whole:?} was sent; instrument.channel was expected, such as psu.voltage"),
            );
        }
        None
    }

    /// A hint at the name that was probably meant.
    pub(super) fn meant(&self, id: &str) -> String {
        let names = self.bench.names();
        let known: Vec<&str> = names.iter().map(String::as_str).collect();
        match nearest(id, &known) {
            Some(name) => format!("; did you mean {name}?"),
            None if known.is_empty() => String::new(),
            None => format!("; there are {}", listed(&known)),
        }
    }

    /// A channel that can be set.
    pub(super) fn settable(&self, text: &str, field: &str) -> Option<Found> {
        let found = self.channel(text, field)?;
        if !found.offer.settable {
            self.faults.add(field, "not_settable", format!("{} can be read but not set", found.channel));
            return None;
        }
        Some(found)
    }

    /// A channel that can be read.
    pub(super) fn readable(&self, text: &str, field: &str) -> Option<Found> {
        let found = self.channel(text, field)?;
        if !found.offer.readable {
            self.faults.add(field, "not_readable", format!("{} can be set but not read", found.channel));
            return None;
        }
        Some(found)
    }

    /// Whether a channel may be set to this number.
    pub(super) fn within_limits(&self, found: &Found, number: f64, field: &str) {
        let Found { channel, offer } = found;
        if !offer.words.is_empty() {
            self.faults.add(
                field,
                "unknown_word",
                format!("{number} was sent; {channel} takes {}", listed_owned(&offer.words)),
            );
            return;
        }
        let limits = (offer.min, offer.max);
        if let Some(why) = outside(&channel.to_string(), number, limits, offer.unit.as_deref()) {
            self.faults.add(field, "out_of_limits", why);
        }
    }

    /// Whether every value of a loop is within the limits; a straight line is when its ends are.
    pub(super) fn values_within(&self, found: &Found, values: &Values, at: &str) {
        match values {
            Values::Even { start, stop, points } => {
                self.within_limits(found, *start, &format!("{at}.start"));
                if *points > 1 {
                    self.within_limits(found, *stop, &format!("{at}.stop"));
                }
            }
            Values::List(list) => {
                for (n, value) in list.iter().enumerate() {
                    self.within_limits(found, *value, &format!("{at}.values[{n}]"));
                }
            }
            Values::Count(_) => {}
        }
    }

    /// The unit that was written with a value has to be the channel's.
    pub(super) fn unit(&self, fields: &Fields<'_>, found: &Found) {
        let Some(unit) = fields.text("unit") else { return };
        let own = found.offer.unit.as_deref().unwrap_or("1");
        if unit != own {
            fields.fault("unit", "unit", format!("{unit:?} was sent; {} is set in {own:?}", found.channel));
        }
    }

    /// What a channel is set to: a number, or one of its words; true, false, 1 and 0 stand for on and off.
    pub(super) fn setting(&self, fields: &Fields<'_>, key: &str, found: &Found) -> Option<Setting> {
        let Some(value) = fields.value(key) else {
            fields.missing(key, "what the channel is set to");
            return None;
        };
        let field = fields.path(key);
        let words = &found.offer.words;
        if words.is_empty() {
            let number = fields.number(key)?;
            self.within_limits(found, number, &field);
            return Some(Setting::Number(number));
        }
        let word = match value {
            Value::String(text) => text.clone(),
            other => match switched(other) {
                Some(true) => "on".to_string(),
                Some(false) => "off".to_string(),
                None => String::new(),
            },
        };
        if words.contains(&word) {
            return Some(Setting::Word(word));
        }
        let detail = format!("{} was sent; {} takes {}", shown(value), found.channel, listed_owned(words));
        self.faults.add(field, "unknown_word", detail);
        None
    }

    /// An output pin.
    pub(super) fn output(&self, id: &str, field: &str) -> bool {
        if self.bench.is_output(id) {
            self.used.borrow_mut().insert(id.to_string());
            return true;
        }
        let id = super::fields::shorten(id);
        self.faults.add(field, "unknown_output", format!("there is no output {id:?}{}", self.meant(&id)));
        false
    }
}

/// On or off, as people write it.
pub(super) fn switched(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(flag) => Some(*flag),
        Value::Number(number) if number.as_f64() == Some(1.0) => Some(true),
        Value::Number(number) if number.as_f64() == Some(0.0) => Some(false),
        Value::String(text) if text == "on" => Some(true),
        Value::String(text) if text == "off" => Some(false),
        _ => None,
    }
}

fn listed_owned(names: &[String]) -> String {
    listed(&names.iter().map(String::as_str).collect::<Vec<_>>())
}

/// The first dozen of them.
fn listed(names: &[&str]) -> String {
    let more = if names.len() > 12 { ", ..." } else { "" };
    if names.is_empty() {
        return "none".into();
    }
    format!("{}{more}", names.iter().take(12).copied().collect::<Vec<_>>().join(", "))
}
