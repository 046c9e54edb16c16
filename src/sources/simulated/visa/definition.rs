//! What a device file says of one device, ready to be played.

use super::format::Format;
use super::template::Template;
use super::value::{Kind, Value};
use std::collections::HashMap;

/// One device at one resource.
#[derive(Clone, Debug, PartialEq)]
pub struct Definition {
    /// Its name in the file.
    pub name: String,
    /// The resource at which it is.
    pub resource: String,
    /// Ends what it is sent.
    pub query_end: Vec<u8>,
    /// Ends what it answers.
    pub answer_end: Vec<u8>,
    /// Between queries of one message; empty: a message is one query.
    pub delimiter: Vec<u8>,
    /// What is asked of the device itself and set there.
    pub own: Commands,
    /// The queries of the status registers.
    pub registers: Vec<Vec<u8>>,
    /// Which register takes which bits with each wrong command.
    pub error_bits: Option<(usize, i64)>,
    /// Its queues of errors.
    pub queues: Vec<Queue>,
    /// What a wrong command is answered.
    pub refusal: Option<Vec<u8>>,
    /// Its channels.
    pub groups: Vec<Channels>,
}

/// What is asked and set.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Commands {
    pub answers: HashMap<Vec<u8>, Said>,
    /// The property that is asked for, and how it is said.
    pub getters: HashMap<Vec<u8>, (usize, Said)>,
    pub setters: Vec<Setter>,
    pub properties: Vec<Property>,
}

/// An answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Said {
    Nothing,
    Text(Vec<u8>),
    Value(Format),
    Random(Random),
    /// Nothing, as what is written is no answer.
    Broken,
}

/// Numbers that are drawn anew for every answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Random {
    pub low: f64,
    pub high: f64,
    pub count: usize,
    pub format: Format,
}

/// A command that sets a property.
#[derive(Clone, Debug, PartialEq)]
pub struct Setter {
    pub property: usize,
    pub template: Template,
    pub answer: Option<Vec<u8>>,
    /// The answer when the value is refused.
    pub error: Option<Vec<u8>>,
}

/// A value of the device.
#[derive(Clone, Debug, PartialEq)]
pub struct Property {
    pub default: Value,
    pub specs: Option<Specs>,
}

/// Which values are taken.
#[derive(Clone, Debug, PartialEq)]
pub struct Specs {
    pub kind: Kind,
    pub min: Option<Value>,
    pub max: Option<Value>,
    /// Empty: all.
    pub valid: Vec<Value>,
}

impl Property {
    /// What it is set to; `None` when that is refused.
    pub fn accept(&self, value: Value) -> Option<Value> {
        match &self.specs {
            Some(specs) => specs.accept(value),
            None => Some(value),
        }
    }

    /// Of which kind it is.
    pub fn kind(&self) -> Option<Kind> {
        self.specs.as_ref().map(|specs| specs.kind)
    }
}

impl Specs {
    /// The value as its kind, within its limits.
    pub fn accept(&self, value: Value) -> Option<Value> {
        let value = value.into_kind(self.kind)?;
        let refused = self.min.as_ref().is_some_and(|min| value < *min)
            || self.max.as_ref().is_some_and(|max| value > *max)
            || !self.valid.is_empty() && !self.valid.contains(&value);
        (!refused).then_some(value)
    }
}

/// A queue of errors.
#[derive(Clone, Debug, PartialEq)]
pub struct Queue {
    pub query: Vec<u8>,
    /// The answer when it is empty.
    pub default: Vec<u8>,
    /// What a wrong command leaves in it.
    pub command_error: Option<Vec<u8>>,
}

/// Channels of one kind.
#[derive(Clone, Debug, PartialEq)]
pub struct Channels {
    pub ids: Vec<String>,
    /// Properties and setters of every channel.
    pub commands: Commands,
    /// What is asked of each channel; one for all where a property of the device says which is meant.
    pub asked: Vec<Asked>,
    /// That property, unless the query itself says which channel is meant.
    pub selected: Option<usize>,
}

/// Queries of one channel.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Asked {
    pub answers: HashMap<Vec<u8>, Said>,
    pub getters: HashMap<Vec<u8>, (usize, Said)>,
}
