//! Two services that the bench pretends to watch; now and then one is restarted.

use super::link::Link;
use super::out::Out;
use super::{Device, Moment, STEPS_PER_S};
use crate::clock::Wall;
use crate::model::{Level, ServiceStatus};
use crate::random::Random;

/// See the module above.
pub(super) struct Services {
    random: Random,
    rows: [Row; 2],
}

struct Row {
    name: &'static str,
    description: &'static str,
    since: Option<Wall>,
    restarts: u64,
    /// Seconds until it fails, and until it is back after that.
    fails_at: f64,
    back_at: Option<f64>,
}

impl Services {
    pub fn new(seed: u64) -> Self {
        let mut random = Random::of(seed, "services");
        let mut row = |name, description| Row {
            name,
            description,
            since: None,
            restarts: 0,
            fails_at: random.between(80.0, 240.0),
            back_at: None,
        };
        let rows = [
            row("recorder.service", "Audio capture"),
            row("uploader.service", "Copies recordings to the archive"),
        ];
        Services { random, rows }
    }
}

impl Device for Services {
    fn source(&self) -> &'static str {
        "services"
    }

    fn timeout_s(&self) -> f64 {
        5.0
    }

    fn step(&mut self, at: Moment, link: &mut Link, out: &mut Out) {
        if !at.every(STEPS_PER_S) {
            return;
        }
        let arrives = link.receive(at);
        for row in &mut self.rows {
            row.since.get_or_insert(at.wall);
            if at.t() >= row.fails_at && row.back_at.is_none() {
                row.back_at = Some(at.t() + 3.0);
                row.since = Some(at.wall);
                out.log(
                    at,
                    Level::Warning,
                    "services",
                    format!("{} ended with exit code 1; starting it again", row.name),
                );
            } else if row.back_at.is_some_and(|back| at.t() >= back) {
                row.back_at = None;
                row.restarts += 1;
                row.since = Some(at.wall);
                row.fails_at = at.t() + self.random.between(200.0, 600.0);
            }
            if arrives {
                out.state(
                    at,
                    "service_status",
                    row.name,
                    &ServiceStatus {
                        name: row.name.into(),
                        status: if row.back_at.is_some() { "activating" } else { "active" }.into(),
                        since: row.since,
                        description: Some(row.description.into()),
                        restarts: row.restarts,
                        can: Vec::new(),
                        unit: None,
                        triggered_by: Vec::new(),
                    },
                );
            }
        }
    }
}
