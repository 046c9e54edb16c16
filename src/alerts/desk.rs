//! The life of alerts: raised, acknowledged, snoozed, cleared, closed, and come back.
//!
//! ```text
//! active -> acknowledged -> closed        active -> cleared -> closed
//! ```
//!
//! Promises: one occurrence for one outage, however many say it; the severity is the worst of the occurrence; worse than
//! what was acknowledged or snoozed is news again; an alert that keeps coming back is held as one. What was open before
//! a restart goes on, and ends when nobody here speaks of it any more. Pure: what is to be published is given back.

use crate::clock::Wall;
use crate::limits;
use crate::model::{Alert, AlertState, Level, RaisedBy, Severity};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

/// The moment of a call: durations by the one, labels by the other.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// Monotonic.
    pub now: Duration,
    /// What the clock on the wall says.
    pub wall: Wall,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Publish it as it stands.
    Publish(Alert),
    /// Tell the channels.
    Tell(News, Alert),
    /// A line in the log.
    Log(Level, String, Option<String>),
}

/// What channels are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum News {
    /// It holds, or has become worse, or its snooze is over.
    Active,
    /// Somebody has acknowledged it.
    Acknowledged,
    /// It is over.
    Cleared,
    /// A message that somebody asked for, to see whether it arrives.
    Test,
}

impl News {
    /// The word of the wire.
    pub const fn word(self) -> &'static str {
        match self {
            News::Active => "active",
            News::Acknowledged => "acknowledged",
            News::Cleared => "cleared",
            News::Test => "test",
        }
    }
}

/// A condition, as it is raised.
#[derive(Clone, Debug)]
pub struct Condition {
    /// Who raises it.
    pub by: RaisedBy,
    /// How bad.
    pub severity: Severity,
    /// What it says.
    pub message: String,
    /// What to do.
    pub guidance: Option<String>,
    /// What it is about.
    pub source: Option<String>,
    /// The value that is beyond `limit`.
    pub value: Option<f64>,
    /// See `value`.
    pub limit: Option<f64>,
    /// See `value`.
    pub unit: Option<String>,
    /// Whether it stays until acknowledged.
    pub latched: bool,
    /// The rule, where one raised it.
    pub rule: Option<String>,
    /// Targets that take no commands while it stands.
    pub blocks: Vec<String>,
    /// Whether they stay blocked, once it is over, until somebody resets it.
    pub latch: bool,
}

/// Why somebody's wish can't be met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// There is no such open alert.
    Unknown,
    /// It is another occurrence.
    Occurrence(u64),
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Refusal::Unknown => f.write_str("there is no such open alert any more"),
            Refusal::Occurrence(open) => write!(f, "that is another occurrence; the open one is {open}"),
        }
    }
}

/// How long somebody does not want to hear of an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Snooze {
    /// Not at all: it is heard again.
    None,
    /// So long.
    For(Duration),
    /// Until the next start.
    Restart,
}

impl Snooze {
    /// Reads the word of the wire.
    pub fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "none" => Snooze::None,
            "restart" => Snooze::Restart,
            "1h" => Snooze::For(Duration::from_secs(3600)),
            "1d" => Snooze::For(Duration::from_secs(86_400)),
            "1w" => Snooze::For(Duration::from_secs(7 * 86_400)),
            _ => return None,
        })
    }
}

/// What is kept of an alert beyond its being open.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Memory {
    /// Its last occurrence.
    pub occurrence: u64,
    /// Until when it is snoozed: a time, or `restart`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snoozed_until: Option<String>,
    /// How bad it was when it was snoozed: worse is heard.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snoozed_at: Option<Severity>,
    /// When it was raised in the last while, on the caller's clock.
    #[serde(skip)]
    raises: VecDeque<Duration>,
    /// The end of the snooze on the caller's clock; none for `restart`.
    #[serde(skip)]
    snooze_ends: Option<Duration>,
    /// Order of use, for forgetting.
    #[serde(skip)]
    used: u64,
}

struct Entry {
    alert: Alert,
    /// Who holds it up at the moment; empty when it is over, and for those of other programs.
    by_rule: bool,
    by_telltale: bool,
    /// From before the restart, and nobody has spoken of it yet.
    orphan: bool,
    /// It keeps coming back: since when its condition is over for now.
    chatter: Option<Option<Duration>>,
    /// When its message or value was last published, on the caller's clock.
    updated: Duration,
}

/// See the module above.
#[derive(Default)]
pub struct Desk {
    open: BTreeMap<String, Entry>,
    memory: BTreeMap<String, Memory>,
    /// Ids whose memory is not on the shelf as it stands.
    dirty: BTreeSet<String>,
    uses: u64,
    began: Duration,
    /// Occurrences raised.
    pub raised: u64,
    /// Alerts that were not listed because the list is full.
    pub refused: u64,
    full: bool,
}

/// The alert that says that there are too many.
pub const FULL: &str = "alerts.full";

impl Desk {
    /// A desk that goes on with alerts that were open before the restart.
    pub fn new(open: Vec<Alert>, at: Moment) -> Self {
        let mut desk = Desk { began: at.now, ..Desk::default() };
        for alert in open.into_iter().filter(|a| a.state != AlertState::Closed) {
            let entry = Entry {
                by_rule: alert.state.holds() && alert.raised_by == Some(RaisedBy::Rule),
                by_telltale: alert.state.holds() && alert.raised_by == Some(RaisedBy::Telltale),
                orphan: alert.raised_by.is_some(),
                chatter: None,
                updated: at.now,
                alert,
            };
            let id = entry.alert.alert_id.clone();
            desk.remember(&id).occurrence = entry.alert.occurrence;
            desk.open.insert(id, entry);
        }
        desk
    }

    /// What was on the shelf: counts of occurrences, snoozes. Of what is open the alert itself knows better. Gives what
    /// changes by it: snoozes that ended meanwhile, or with the restart.
    pub fn recall(&mut self, rows: Vec<(String, Memory)>, at: Moment) -> Vec<Effect> {
        let mut effects = Vec::new();
        let open = self.open.iter().map(|(id, entry)| {
            let snoozed_at = entry.alert.snoozed_until.as_ref().map(|_| entry.alert.severity);
            let snoozed_until = entry.alert.snoozed_until.clone();
            let memory =
                Memory { occurrence: entry.alert.occurrence, snoozed_until, snoozed_at, ..Memory::default() };
            (id.clone(), memory)
        });
        let open: Vec<_> = open.collect();
        for (id, kept) in rows.into_iter().chain(open) {
            let memory = self.remember(&id);
            memory.occurrence = memory.occurrence.max(kept.occurrence);
            memory.wake();
            let ends = kept.snoozed_until.as_deref().and_then(Wall::parse);
            let left = ends.map(|ends| Duration::from_millis(ends.0.saturating_sub(at.wall.0)));
            match left.filter(|left| !left.is_zero()) {
                Some(left) => {
                    // A clock that was set back must not make a week of an hour.
                    memory.snooze_ends = Some(at.now + left.min(Duration::from_secs(7 * 86_400)));
                    memory.snoozed_until = kept.snoozed_until;
                    memory.snoozed_at = kept.snoozed_at;
                }
                None if kept.snoozed_until.is_some() => drop(self.dirty.insert(id)),
                None => {}
            }
        }
        let ids: Vec<String> = self.open.keys().cloned().collect();
        for id in ids {
            let snoozed = self.memory.get(&id).and_then(|m| m.snoozed_until.clone());
            let Some(entry) = self.open.get_mut(&id) else { continue };
            if entry.alert.snoozed_until != snoozed {
                entry.alert.snoozed_until = snoozed;
                effects.push(Effect::Publish(entry.alert.clone()));
                self.tell(&mut effects, News::Active, &id, true);
            }
        }
        effects
    }

    /// The open alert of this id.
    pub fn alert(&self, id: &str) -> Option<&Alert> {
        self.open.get(id).map(|entry| &entry.alert)
    }

    /// The open alerts that keep commands from `target` as they stand.
    pub fn blocking<'d>(&'d self, target: &'d str) -> impl Iterator<Item = &'d Alert> {
        self.open.values().map(|entry| &entry.alert).filter(move |alert| alert.blocks(target))
    }

    /// How many are open.
    pub fn len(&self) -> usize {
        self.open.len()
    }

    /// The severity of an alert that a rule holds up.
    pub fn raised_by_rule(&self, id: &str) -> Option<Severity> {
        self.open.get(id).filter(|entry| entry.by_rule).map(|entry| entry.alert.severity)
    }

    /// Ids of what rules hold up.
    pub fn held_by_rules(&self) -> Vec<String> {
        self.open.iter().filter(|(_, e)| e.by_rule).map(|(id, _)| id.clone()).collect()
    }

    /// Whether the condition of an alert holds; a `*` at the end of the id stands for any end.
    pub fn is_active(&self, pattern: &str) -> bool {
        match pattern.strip_suffix('*') {
            Some(start) => self.open.iter().any(|(id, e)| id.starts_with(start) && e.alert.state.holds()),
            None => self.open.get(pattern).is_some_and(|e| e.alert.state.holds()),
        }
    }

    /// The rule of this id is there: it will say when it is over. What it blocks is what it says now.
    pub fn confirm(&mut self, id: &str, blocks: &[String], latch: bool) -> Vec<Effect> {
        let Some(entry) = self.open.get_mut(id).filter(|entry| entry.by_rule) else { return Vec::new() };
        entry.orphan = false;
        if entry.alert.blocks == blocks && entry.alert.latch == latch {
            return Vec::new();
        }
        entry.alert.blocks = blocks.to_vec();
        entry.alert.latch = latch;
        vec![Effect::Publish(entry.alert.clone())]
    }

    /// A condition holds.
    pub fn raise(&mut self, id: &str, condition: Condition, at: Moment) -> Vec<Effect> {
        let mut effects = Vec::new();
        // What another program says under an id of ours is taken over, as an occurrence of its own.
        if self.open.get(id).is_some_and(|e| e.alert.state.holds() && e.alert.raised_by.is_some()) {
            self.again(id, condition, at, &mut effects);
            return effects;
        }
        let listed = self.open.contains_key(id);
        // What keeps commands from something is always listed: it may latch. There are as many as the rules find.
        let counts = id != FULL && condition.blocks.is_empty();
        if !listed && counts && self.open.len() >= limits::ALERTS_OPEN {
            self.refused += 1;
            if !std::mem::replace(&mut self.full, true) {
                effects = self.raise(
                    FULL,
                    Condition {
                        by: RaisedBy::Telltale,
                        severity: Severity::Major,
                        message: format!(
                            "More than {} alerts are open; further ones are not listed.",
                            limits::ALERTS_OPEN
                        ),
                        guidance: Some("Acknowledge those that are over, and look at the rules.".into()),
                        source: Some("telltale".into()),
                        value: None,
                        limit: None,
                        unit: None,
                        latched: false,
                        rule: None,
                        blocks: Vec::new(),
                        latch: false,
                    },
                    at,
                );
            }
            return effects;
        }
        self.raised += 1;
        let memory = self.remember(id);
        memory.occurrence += 1;
        memory.raises.push_back(at.now);
        while memory.raises.front().is_some_and(|then| at.now.saturating_sub(*then) > limits::CHATTER_TIME)
            || memory.raises.len() > 2 * limits::CHATTER
        {
            memory.raises.pop_front();
        }
        let times = memory.raises.len();
        if memory.snoozed_at.is_some_and(|was| condition.severity > was) {
            memory.wake();
        }
        let (occurrence, snoozed_until) = (memory.occurrence, memory.snoozed_until.clone());
        // A latch that waits for its reset goes on, whoever raises the same again.
        let waits = |alert: &&Alert| {
            alert.state == AlertState::Cleared && alert.latch && alert.raised_by == Some(RaisedBy::Rule)
        };
        let latched = self.alert(id).filter(waits).filter(|_| condition.by == RaisedBy::Telltale);
        let (by, blocks, latch) = match latched {
            Some(alert) => (RaisedBy::Rule, alert.blocks.clone(), true),
            None => (condition.by, condition.blocks, condition.latch),
        };
        let chatters = times > limits::CHATTER;
        let mut message = condition.message;
        if chatters {
            message = format!(
                "{} It keeps coming back: {times} times in {} min.",
                message.trim_end(),
                limits::CHATTER_TIME.as_secs() / 60
            );
        }
        let alert = Alert {
            alert_id: id.into(),
            occurrence,
            severity: condition.severity,
            state: AlertState::Active,
            message,
            raised_at: at.wall,
            source: condition.source,
            guidance: condition.guidance,
            value: condition.value,
            limit: condition.limit,
            unit: condition.unit,
            cleared_at: None,
            acked_at: None,
            acked_by: None,
            snoozed_until,
            latched: condition.latched,
            rule: condition.rule,
            count: 1,
            raised_by: Some(by),
            blocks,
            latch,
        };
        let level = if condition.severity > Severity::Minor { Level::Error } else { Level::Warning };
        effects.push(Effect::Publish(alert.clone()));
        effects.push(Effect::Log(level, alert.message.clone(), alert.source.clone()));
        let entry = Entry {
            by_rule: condition.by == RaisedBy::Rule,
            by_telltale: condition.by == RaisedBy::Telltale,
            orphan: false,
            chatter: chatters.then_some(None),
            updated: at.now,
            alert,
        };
        self.open.insert(id.into(), entry);
        self.tell(&mut effects, News::Active, id, false);
        effects
    }

    /// What holds already is said again, perhaps by somebody else, perhaps worse.
    fn again(&mut self, id: &str, condition: Condition, at: Moment, effects: &mut Vec<Effect>) {
        let Some(entry) = self.open.get_mut(id) else { return };
        match condition.by {
            RaisedBy::Rule => entry.by_rule = true,
            RaisedBy::Telltale => entry.by_telltale = true,
        }
        entry.orphan = false;
        let alert = &mut entry.alert;
        let mut changed = false;
        // Whoever said it first: what its rule blocks is blocked.
        if condition.by == RaisedBy::Rule
            && (alert.blocks != condition.blocks || alert.latch != condition.latch)
        {
            (alert.blocks, alert.latch) = (condition.blocks, condition.latch);
            alert.rule = condition.rule.or(alert.rule.take());
            // Only what a rule has raised blocks after a restart as well.
            alert.raised_by = Some(RaisedBy::Rule);
            changed = true;
        }
        if entry.chatter.is_some_and(|over| over.is_some()) {
            entry.chatter = Some(None);
            alert.count += 1;
            changed = at.now.saturating_sub(entry.updated) >= limits::ALERT_UPDATE;
        }
        let worse = condition.severity > alert.severity;
        let other = entry.chatter.is_none() && alert.message != condition.message;
        if worse || (other && at.now.saturating_sub(entry.updated) >= limits::ALERT_UPDATE) {
            alert.message = condition.message;
            (alert.value, alert.limit, alert.unit) = (condition.value, condition.limit, condition.unit);
            alert.guidance = condition.guidance.or(alert.guidance.take());
            changed = true;
        }
        if worse {
            alert.severity = condition.severity;
            // Worse than what was acknowledged is news again.
            alert.state = AlertState::Active;
            alert.acked_at = None;
            alert.acked_by = None;
            if let Some(memory) = self.memory.get_mut(id)
                && memory.snoozed_at.is_some_and(|was| condition.severity > was)
            {
                memory.wake();
                alert.snoozed_until = None;
                self.dirty.insert(id.into());
            }
            effects.push(Effect::Log(
                Level::Error,
                format!("{} ({})", alert.message, alert.severity.word()),
                alert.source.clone(),
            ));
        }
        if changed {
            entry.updated = at.now;
            effects.push(Effect::Publish(alert.clone()));
        }
        if worse {
            self.tell(effects, News::Active, id, false);
        }
    }

    /// A condition is over; nothing when it was not raised by the same.
    pub fn clear(&mut self, id: &str, by: RaisedBy, message: &str, at: Moment) -> Vec<Effect> {
        let Some(entry) = self.open.get_mut(id).filter(|e| e.alert.state.holds()) else { return Vec::new() };
        let held = match by {
            RaisedBy::Rule => std::mem::replace(&mut entry.by_rule, false),
            RaisedBy::Telltale => std::mem::replace(&mut entry.by_telltale, false),
        };
        if !held || entry.by_rule || entry.by_telltale {
            return Vec::new();
        }
        if let Some(over) = &mut entry.chatter {
            over.get_or_insert(at.now);
            return Vec::new();
        }
        self.over(id, message, at)
    }

    fn over(&mut self, id: &str, message: &str, at: Moment) -> Vec<Effect> {
        let mut effects = Vec::new();
        let Some(entry) = self.open.get_mut(id) else { return effects };
        // What latches is reset after it is over, however well it was known before.
        let seen = entry.alert.state == AlertState::Acknowledged || !entry.alert.latched;
        let known = seen && !entry.alert.latch;
        entry.alert.state = if known { AlertState::Closed } else { AlertState::Cleared };
        entry.alert.cleared_at = Some(at.wall);
        entry.by_rule = false;
        entry.by_telltale = false;
        entry.chatter = None;
        effects.push(Effect::Publish(entry.alert.clone()));
        effects.push(Effect::Log(Level::Info, message.into(), entry.alert.source.clone()));
        self.tell(&mut effects, News::Cleared, id, false);
        if known {
            self.close(id);
        }
        self.relax(at, &mut effects);
        effects
    }

    /// It leaves the list.
    fn close(&mut self, id: &str) {
        self.open.remove(id);
        self.dirty.insert(id.into());
        self.forget();
    }

    /// There is room again.
    fn relax(&mut self, at: Moment, effects: &mut Vec<Effect>) {
        if self.full && self.open.len() < limits::ALERTS_OPEN * 9 / 10 {
            self.full = false;
            effects.extend(self.clear(FULL, RaisedBy::Telltale, "There is room for alerts again.", at));
        }
    }

    /// Somebody has seen it. Gives how it stands then.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub fn acknowledge(
        &mut self,
        id: &str,
        occurrence: u64,
        by: Option<String>,
        at: Moment,
    ) -> Result<(AlertState, Vec<Effect>), Refusal> {
        let entry = self.known(id, occurrence)?;
        let state = match entry.alert.state {
            AlertState::Active => AlertState::Acknowledged,
            AlertState::Cleared => AlertState::Closed,
            done => return Ok((done, Vec::new())),
        };
        entry.alert.state = state;
        entry.alert.acked_at = Some(at.wall);
        entry.alert.acked_by = by;
        let who = entry.alert.acked_by.as_deref().map(|who| format!(" by {who}")).unwrap_or_default();
        let line = format!("{id} was acknowledged{who}");
        let mut effects = vec![
            Effect::Publish(entry.alert.clone()),
            Effect::Log(Level::Info, line, entry.alert.source.clone()),
        ];
        self.tell(&mut effects, News::Acknowledged, id, true);
        if state == AlertState::Closed {
            self.close(id);
            self.relax(at, &mut effects);
        }
        Ok((state, effects))
    }

    /// Somebody does not want to hear of it for a while.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub fn snooze(
        &mut self,
        id: &str,
        occurrence: u64,
        snooze: Snooze,
        by: Option<&str>,
        at: Moment,
    ) -> Result<Vec<Effect>, Refusal> {
        let severity = self.known(id, occurrence)?.alert.severity;
        let until = match snooze {
            Snooze::None => None,
            Snooze::Restart => Some("restart".to_string()),
            Snooze::For(time) => Some(Wall(at.wall.0.saturating_add(time.as_millis() as u64)).rfc3339()),
        };
        let memory = self.remember(id);
        memory.snoozed_until.clone_from(&until);
        memory.snoozed_at = until.is_some().then_some(severity);
        memory.snooze_ends = match snooze {
            Snooze::For(time) => Some(at.now + time),
            Snooze::None | Snooze::Restart => None,
        };
        self.dirty.insert(id.into());
        let entry = self.known(id, occurrence)?;
        let was = std::mem::replace(&mut entry.alert.snoozed_until, until);
        let who = by.map(|who| format!(" by {who}")).unwrap_or_default();
        let line = match &entry.alert.snoozed_until {
            Some(until) if until == "restart" => format!("{id} was snoozed until the next start{who}"),
            Some(until) => format!("{id} was snoozed until {until}{who}"),
            None => format!("the snooze of {id} was ended{who}"),
        };
        let mut effects = vec![
            Effect::Publish(entry.alert.clone()),
            Effect::Log(Level::Info, line, entry.alert.source.clone()),
        ];
        if was.is_some() && snooze == Snooze::None {
            self.tell(&mut effects, News::Active, id, true);
        }
        Ok(effects)
    }

    fn known(&mut self, id: &str, occurrence: u64) -> Result<&mut Entry, Refusal> {
        match self.open.get_mut(id) {
            None => Err(Refusal::Unknown),
            Some(entry) if entry.alert.occurrence != occurrence => {
                Err(Refusal::Occurrence(entry.alert.occurrence))
            }
            Some(entry) => Ok(entry),
        }
    }

    /// An alert that another program has published. One of ours is not overwritten: it is published again as it stands.
    pub fn adopt(&mut self, alert: Alert, at: Moment) -> Vec<Effect> {
        let id = alert.alert_id.clone();
        let mut effects = Vec::new();
        if let Some(entry) = self.open.get(&id)
            && entry.alert.raised_by.is_some()
        {
            effects.push(Effect::Publish(entry.alert.clone()));
            return effects;
        }
        let before = self.open.get(&id).map(|e| (e.alert.occurrence, e.alert.state, e.alert.severity));
        // That it is a rule's and blocks something only we may say; after a restart the state would be taken at its word.
        let claims = alert.raised_by.is_some() || !alert.blocks.is_empty() || alert.latch;
        let alert = Alert { raised_by: None, blocks: Vec::new(), latch: false, ..alert };
        if alert.state == AlertState::Closed {
            if let Some(entry) = self.open.get_mut(&id) {
                let told = entry.alert.state.holds();
                entry.alert = alert;
                if told {
                    self.tell(&mut effects, News::Cleared, &id, false);
                }
                self.close(&id);
                self.relax(at, &mut effects);
            }
            return effects;
        }
        if before.is_none() && self.open.len() >= limits::ALERTS_OPEN {
            self.refused += 1;
            return effects;
        }
        let news = match (before, alert.state) {
            (Some((n, state, severity)), AlertState::Active)
                if n == alert.occurrence && state == AlertState::Active && severity >= alert.severity =>
            {
                None
            }
            (_, AlertState::Active) => Some(News::Active),
            (Some((n, AlertState::Acknowledged, _)), AlertState::Acknowledged) if n == alert.occurrence => {
                None
            }
            (_, AlertState::Acknowledged) => Some(News::Acknowledged),
            (Some((n, AlertState::Cleared, _)), _) if n == alert.occurrence => None,
            _ => Some(News::Cleared),
        };
        let memory = self.remember(&id);
        let went_back = alert.occurrence < memory.occurrence;
        memory.occurrence = memory.occurrence.max(alert.occurrence);
        if memory.snoozed_at.is_some_and(|was| alert.severity > was) {
            memory.wake();
        }
        let snoozed_until = memory.snoozed_until.clone();
        if went_back {
            self.dirty.insert(id.clone());
        }
        let differs = claims || alert.snoozed_until != snoozed_until;
        let entry = Entry {
            alert: Alert { snoozed_until, ..alert },
            by_rule: false,
            by_telltale: false,
            orphan: false,
            chatter: None,
            updated: at.now,
        };
        if differs {
            effects.push(Effect::Publish(entry.alert.clone()));
        }
        self.open.insert(id.clone(), entry);
        if let Some(news) = news {
            self.tell(&mut effects, news, &id, false);
        }
        effects
    }

    /// Time has passed: snoozes end, what kept coming back has stayed away, what nobody speaks of any more is over.
    pub fn tick(&mut self, at: Moment) -> Vec<Effect> {
        let mut effects = Vec::new();
        let quiet = |since: Duration| at.now.saturating_sub(since) >= limits::CHATTER_QUIET;
        let stayed_away = |e: &Entry| matches!(e.chatter, Some(Some(since)) if quiet(since));
        let late = at.now.saturating_sub(self.began) >= limits::ALERT_ORPHAN;
        let orphaned = |e: &Entry| late && e.orphan && e.alert.state.holds();
        let over: Vec<(String, &'static str)> = self
            .open
            .iter()
            .filter_map(|(id, e)| match e {
                e if stayed_away(e) => Some((id.clone(), "has not come back for a while")),
                e if orphaned(e) => Some((id.clone(), "was not seen again since the restart")),
                _ => None,
            })
            .collect();
        for (id, why) in over {
            effects.extend(self.over(&id, &format!("{id} {why}"), at));
        }
        let awake: Vec<String> = self
            .memory
            .iter()
            .filter(|(_, m)| m.snooze_ends.is_some_and(|ends| ends <= at.now))
            .map(|(id, _)| id.clone())
            .collect();
        for id in awake {
            self.remember(&id).wake();
            self.dirty.insert(id.clone());
            if let Some(entry) = self.open.get_mut(&id) {
                entry.alert.snoozed_until = None;
                effects.push(Effect::Publish(entry.alert.clone()));
                self.tell(&mut effects, News::Active, &id, true);
            }
        }
        effects
    }

    /// When [`Desk::tick`] is wanted next.
    pub fn wake(&self) -> Option<Duration> {
        let chatter = self.open.values().filter_map(|e| Some(e.chatter?? + limits::CHATTER_QUIET));
        let snoozes = self.memory.values().filter_map(|m| m.snooze_ends);
        let orphans = self.open.values().any(|e| e.orphan && e.alert.state.holds());
        let orphans = orphans.then_some(self.began + limits::ALERT_ORPHAN);
        chatter.chain(snoozes).chain(orphans).min()
    }

    /// Whether there are memories for the shelf.
    pub fn is_unsaved(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// Memories that are not on the shelf as they stand; none of an id that is forgotten.
    pub fn unsaved(&mut self) -> Vec<(String, Option<Memory>)> {
        let ids = std::mem::take(&mut self.dirty);
        ids.into_iter().map(|id| (id.clone(), self.memory.get(&id).cloned())).collect()
    }

    /// They could not be put on the shelf.
    pub fn not_saved(&mut self, ids: impl Iterator<Item = String>) {
        self.dirty.extend(ids);
    }

    /// Channels are told of what is not snoozed. `only_active` leaves out what is over, and what was seen already.
    fn tell(&self, effects: &mut Vec<Effect>, news: News, id: &str, only_active: bool) {
        let Some(entry) = self.open.get(id) else { return };
        let alert = &entry.alert;
        let again = only_active && news == News::Active;
        if alert.snoozed_until.is_none() && !(again && alert.state != AlertState::Active) {
            effects.push(Effect::Tell(news, alert.clone()));
        }
    }

    fn remember(&mut self, id: &str) -> &mut Memory {
        self.uses += 1;
        let uses = self.uses;
        let memory = self.memory.entry(id.to_string()).or_default();
        memory.used = uses;
        memory
    }

    fn forget(&mut self) {
        while self.memory.len() > limits::ALERTS_REMEMBERED {
            let oldest = self
                .memory
                .iter()
                .filter(|(id, _)| !self.open.contains_key(*id))
                .min_by_key(|(_, m)| m.used)
                .map(|(id, _)| id.clone());
            let Some(oldest) = oldest else { return };
            self.memory.remove(&oldest);
            self.dirty.insert(oldest);
        }
    }
}

impl Memory {
    /// The snooze is over.
    fn wake(&mut self) {
        self.snoozed_until = None;
        self.snoozed_at = None;
        self.snooze_ends = None;
    }
}

#[cfg(test)]
mod tests;
