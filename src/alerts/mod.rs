//! Alerts: conditions a person must know of, from their first moment until somebody has seen them and they are over.
//!
//! Promises: one occurrence for one outage; what is raised again while it is active is not a second one.

use crate::bus::Bus;
use crate::clock::Wall;
use crate::model::{Alert, AlertState, Draft, Level, LogLine, Severity};
use serde::Serialize;
use std::sync::{Arc, Mutex};

/// The desk where alerts are raised and cleared.
pub struct Alerts {
    bus: Arc<Bus>,
    /// Reading the last one and publishing the next is one step.
    desk: Mutex<()>,
}

impl Alerts {
    /// A desk that publishes on `bus`.
    pub fn new(bus: Arc<Bus>) -> Self {
        Alerts { bus, desk: Mutex::default() }
    }

    /// The condition `id` holds. While it is active already, only another message or severity is published.
    pub fn raise(&self, id: &str, severity: Severity, message: &str, guidance: &str) {
        let _desk = self.desk.lock().unwrap_or_else(|e| e.into_inner());
        let last = self.last(id);
        let active = |a: &Alert| matches!(a.state, AlertState::Active | AlertState::Acknowledged);
        let now = Wall::now();
        if let Some(alert) = last.as_ref().filter(|a| active(a)) {
            if alert.message != message || alert.severity != severity {
                let alert = Alert { message: message.into(), severity, ..alert.clone() };
                self.publish("alert", &alert);
            }
            return;
        }
        log::error!("{message}");
        let alert = Alert {
            alert_id: id.into(),
            occurrence: last.map_or(1, |a| a.occurrence + 1),
            severity,
            state: AlertState::Active,
            message: message.into(),
            raised_at: now,
            source: Some("telltale".into()),
            guidance: Some(guidance.into()),
            value: None,
            limit: None,
            unit: None,
            cleared_at: None,
            acked_at: None,
            acked_by: None,
        };
        self.publish("alert", &alert);
        self.publish(
            "log",
            &LogLine {
                level: Level::Error,
                message: message.into(),
                timestamp: now,
                source: Some("telltale".into()),
            },
        );
    }

    /// The condition `id` is over; nothing when it was not raised.
    pub fn clear(&self, id: &str, message: &str) {
        let _desk = self.desk.lock().unwrap_or_else(|e| e.into_inner());
        let Some(alert) = self.last(id) else { return };
        let state =
            if alert.state == AlertState::Acknowledged { AlertState::Closed } else { AlertState::Cleared };
        if matches!(alert.state, AlertState::Active | AlertState::Acknowledged) {
            log::info!("{message}");
            self.publish("alert", &Alert { state, cleared_at: Some(Wall::now()), ..alert });
        }
    }

    /// The open alert of this id, as it was last published.
    fn last(&self, id: &str) -> Option<Alert> {
        let event = self.bus.state_of(&format!("alert/{id}"))?;
        serde_json::from_str(event.payload()).ok()
    }

    fn publish<T: Serialize>(&self, kind: &str, payload: &T) {
        match Draft::of(kind, payload).map(|draft| self.bus.publish(draft)) {
            Ok(Ok(_)) => {}
            Ok(Err(e)) => log::warn!("failed to publish {kind}: {e}"),
            Err(e) => log::error!("failed to publish {kind}: {e}"),
        }
    }
}
