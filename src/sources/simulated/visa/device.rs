//! A simulated device: what it is told, what it answers. Bytes in, bytes out.
//!
//! It does what pyvisa-sim 0.7's `Device` does, with these differences: every end of a message ends one, however the bytes
//! come; where pyvisa-sim raises in the program that asked, nothing is answered; text that is no UTF-8 is an unknown
//! command. Promises: never panics, whatever comes; what it keeps and what it says is bounded.

use super::definition::{Asked, Channels, Commands, Definition, Random as Drawn, Said};
use super::template::Found;
use super::value::{Kind, Value};
use crate::limits;
use crate::random::Random;
use std::sync::Arc;

/// See the module above.
pub struct Device {
    definition: Arc<Definition>,
    values: Vec<Value>,
    /// Of each group, of each of its channels.
    channels: Vec<Vec<Vec<Value>>>,
    registers: Vec<i64>,
    /// How many errors wait in each queue; all in one are the same.
    errors: Vec<usize>,
    /// What came since the last message ended.
    input: Vec<u8>,
    random: Random,
}

/// What one query brought about.
#[derive(Clone, Debug, PartialEq)]
enum Reply {
    Nothing,
    Text(Vec<u8>),
    /// Nothing, and what follows in the same message is not looked at.
    Broken,
}

impl Device {
    /// The device as it is after power-on.
    pub fn new(definition: Definition) -> Device {
        let defaults = |commands: &Commands| -> Vec<Value> {
            commands.properties.iter().map(|property| property.default.clone()).collect()
        };
        Device {
            values: defaults(&definition.own),
            channels: definition
                .groups
                .iter()
                .map(|group| vec![defaults(&group.commands); group.ids.len()])
                .collect(),
            registers: vec![0; definition.registers.len()],
            errors: vec![0; definition.queues.len()],
            input: Vec::new(),
            random: Random::of(1, &definition.name),
            definition: Arc::new(definition),
        }
    }

    /// What it was made of.
    pub fn definition(&self) -> &Definition {
        &self.definition
    }

    /// It is sent bytes; gives what it answers.
    pub fn hear(&mut self, bytes: &[u8]) -> Vec<u8> {
        let definition = Arc::clone(&self.definition);
        let mut answers = Vec::new();
        for byte in bytes {
            self.input.push(*byte);
            if self.input.ends_with(&definition.query_end) {
                let mut message = std::mem::take(&mut self.input);
                message.truncate(message.len() - definition.query_end.len());
                self.message(&definition, &message, &mut answers);
            } else if self.input.len() >= limits::VISA_MESSAGE {
                self.input.clear();
            }
        }
        answers
    }

    fn message(&mut self, definition: &Definition, message: &[u8], answers: &mut Vec<u8>) {
        for query in split(message, &definition.delimiter) {
            let text = match self.find(definition, query) {
                Some(Reply::Broken) => return,
                Some(Reply::Nothing) => None,
                Some(Reply::Text(text)) => Some(text),
                None => self.refuse(definition),
            };
            if let Some(text) = text
                && answers.len() + text.len() < limits::VISA_ANSWERS
            {
                answers.extend(text);
                answers.extend(&definition.answer_end);
            }
        }
    }

    /// An unknown or wrong command: it is noted, and there may be an answer to it.
    fn refuse(&mut self, definition: &Definition) -> Option<Vec<u8>> {
        if let Some((register, bits)) = definition.error_bits
            && let Some(register) = self.registers.get_mut(register)
        {
            *register |= bits;
        }
        for (errors, queue) in self.errors.iter_mut().zip(&definition.queues) {
            if queue.command_error.is_some() && *errors < limits::VISA_ERRORS {
                *errors += 1;
            }
        }
        definition.refusal.clone()
    }

    /// What a query is answered; `None` when it is unknown.
    fn find(&mut self, definition: &Definition, query: &[u8]) -> Option<Reply> {
        let own = &definition.own;
        if let Some(said) = own.answers.get(query) {
            return Some(say(said, None, &mut self.random));
        }
        if let Some((property, said)) = own.getters.get(query) {
            return Some(say(said, self.values.get(*property), &mut self.random));
        }
        if let Some(at) = definition.registers.iter().position(|q| q == query) {
            let value = self.registers.get_mut(at).map(std::mem::take).unwrap_or_default();
            return Some(Reply::Text(value.to_string().into_bytes()));
        }
        if let Some(at) = definition.queues.iter().position(|queue| queue.query == query) {
            let (queue, errors) = (definition.queues.get(at)?, self.errors.get_mut(at)?);
            let error = queue.command_error.as_ref().filter(|_| *errors > 0);
            *errors = errors.saturating_sub(1);
            return Some(Reply::Text(error.unwrap_or(&queue.default).clone()));
        }
        let text = std::str::from_utf8(query).ok()?;
        if let Some(reply) = self.set(own, text) {
            return Some(reply);
        }
        let groups = definition.groups.iter().enumerate();
        groups.map(|(at, group)| self.find_in(definition, (at, group), query, text)).find_map(|reply| reply)
    }

    fn set(&mut self, own: &Commands, text: &str) -> Option<Reply> {
        for setter in &own.setters {
            let Some(found) = setter.template.find(text) else { continue };
            let Some(property) = own.properties.get(setter.property) else { continue };
            let value = match (found, property.kind()) {
                (Found::One(value), _) => value,
                (many, Some(Kind::Text) | None) => Value::Text(many.text()),
                // A list is no number: Python raises.
                (Found::Many(_), Some(_)) => return Some(Reply::Broken),
            };
            match property.accept(value) {
                Some(value) => {
                    if let Some(place) = self.values.get_mut(setter.property) {
                        *place = value;
                    }
                    return Some(answer(&setter.answer));
                }
                None => {
                    if let Some(error) = &setter.error {
                        return Some(Reply::Text(error.clone()));
                    }
                }
            }
        }
        None
    }

    /// What the channels of a group make of a query. An empty answer counts as none.
    fn find_in(
        &mut self,
        definition: &Definition,
        (group, channels): (usize, &Channels),
        query: &[u8],
        text: &str,
    ) -> Option<Reply> {
        let is_something = |reply: &Reply| *reply != Reply::Text(Vec::new());
        let values = self.channels.get(group)?;
        let random = &mut self.random;
        let mut ask = |at: usize, asked: Option<&Asked>| -> Option<Reply> {
            let asked = asked?;
            if let Some(said) = asked.answers.get(query) {
                return Some(say(said, None, random));
            }
            let (property, said) = asked.getters.get(query)?;
            Some(say(said, values.get(at)?.get(*property), random))
        };
        let selected = match channels.selected {
            Some(property) => {
                let Some(Value::Text(id)) = self.values.get(property) else { return None };
                let at = channels.ids.iter().position(|other| other == id)?;
                if let Some(reply) = ask(at, channels.asked.first()) {
                    return Some(reply).filter(is_something);
                }
                Some(at)
            }
            None => {
                let asked = channels.asked.iter().enumerate();
                if let Some(reply) = asked.map(|(at, asked)| ask(at, Some(asked))).find_map(|reply| reply) {
                    return Some(reply).filter(is_something);
                }
                channels.ids.len().checked_sub(1)
            }
        };
        self.set_in(definition, (group, channels), text, selected).filter(is_something)
    }

    fn set_in(
        &mut self,
        definition: &Definition,
        (group, channels): (usize, &Channels),
        text: &str,
        selected: Option<usize>,
    ) -> Option<Reply> {
        for setter in &channels.commands.setters {
            let Some(found) = setter.template.find(text) else { continue };
            let (at, value) = match found.named("ch_id") {
                Some(id) => {
                    let Some(value) = found.named("0") else { return Some(Reply::Broken) };
                    (channels.ids.iter().position(|other| *other == id.text()), value.text())
                }
                None => (selected, found.text()),
            };
            let property = channels.commands.properties.get(setter.property)?;
            let Some(value) = property.accept(Value::Text(value)) else {
                let error = setter.error.clone().or_else(|| self.refuse(definition));
                return Some(error.map_or(Reply::Nothing, Reply::Text));
            };
            // What is set for a channel that is not there can't be asked for.
            let place = at
                .and_then(|at| self.channels.get_mut(group)?.get_mut(at))
                .and_then(|values| values.get_mut(setter.property));
            if let Some(place) = place {
                *place = value;
            }
            return Some(answer(&setter.answer));
        }
        None
    }
}

fn answer(text: &Option<Vec<u8>>) -> Reply {
    text.clone().map_or(Reply::Nothing, Reply::Text)
}

fn say(said: &Said, value: Option<&Value>, random: &mut Random) -> Reply {
    match said {
        Said::Nothing => Reply::Nothing,
        Said::Text(text) => Reply::Text(text.clone()),
        Said::Broken => Reply::Broken,
        Said::Value(format) => match value.and_then(|value| format.fill(value)) {
            Some(text) => Reply::Text(text.into_bytes()),
            None => Reply::Broken,
        },
        Said::Random(Drawn { low, high, count, format }) => {
            let numbers = (0..*count).map(|_| format.fill(&Value::Float(random.between(*low, *high))));
            match numbers.collect::<Option<Vec<String>>>() {
                Some(numbers) => Reply::Text(numbers.join(", ").into_bytes()),
                None => Reply::Broken,
            }
        }
    }
}

/// The queries of a message; one without a delimiter is one query.
fn split<'a>(message: &'a [u8], delimiter: &[u8]) -> Vec<&'a [u8]> {
    if delimiter.is_empty() {
        return vec![message];
    }
    let (mut queries, mut begin, mut at) = (Vec::new(), 0, 0);
    while let Some(rest) = message.get(at..) {
        if rest.starts_with(delimiter) {
            queries.push(message.get(begin..at).unwrap_or_default());
            at += delimiter.len();
            begin = at;
        } else {
            at += 1;
        }
    }
    queries.push(message.get(begin..).unwrap_or_default());
    queries
}

#[cfg(test)]
mod tests;
