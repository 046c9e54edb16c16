//! Units of systemd that the configuration names: shown, and started, stopped or restarted where it allows that.
//!
//! **Promises.** Nothing runs while no service is configured; only what is on the list is ever named to systemctl, as an
//! argument and never through a shell; an order is completed when its effect is seen; telltale's own unit can be restarted
//! but not stopped. **Blocking.** Its own thread waits for systemctl, at most a few seconds at a time.

mod systemctl;
mod watch;

use self::systemctl::{Systemctl, Unit};
use self::watch::{Order, Progress};
use super::inputs::Until;
use super::publish::{Report, monotonic, publish};
use super::{Context, Handles};
use crate::bus::Command;
use crate::clock::Wall;
use crate::config::Service;
use crate::model::{CommandResult, CommandState, Draft, ServiceStatus, SourceState, Topic};
use crate::{limits, threads};
use crossbeam::channel::{Receiver, bounded, select};
use serde::{Deserialize, Serialize};
use std::io;
use std::time::{Duration, Instant};

/// How often systemd is asked, and while an order is under way.
const EVERY: Duration = Duration::from_secs(5);
const SOON: Duration = Duration::from_millis(300);
/// Where an order to restart ourselves waits for our next run.
const SHELF: &str = "service/own";

/// Starts the thread, if there is anything to watch.
pub(super) fn start(
    context: &Context,
    services: &[Service],
    until: Until,
    handles: &mut Handles,
) -> io::Result<()> {
    if services.is_empty() {
        return Ok(());
    }
    let (to, from) = bounded(16);
    let cgroup = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let own = watch::own_unit(&cgroup).map(str::to_string);
    let rows: Vec<Row> = services
        .iter()
        .map(|service| {
            let can = watch::allowed(&service.can, own.as_deref() == Some(service.unit.as_str()));
            let actions: Vec<&str> = can.iter().map(String::as_str).collect();
            let target = format!("service/{}", service.name);
            // Owned without an action too, so that the refusal says what is possible.
            context.commands.own_with(&target, &actions, to.clone());
            Row { service: service.clone(), can, told: None, order: None }
        })
        .collect();
    let source = Services {
        context: context.clone(),
        systemctl: Systemctl::from_environment(),
        rows,
        own,
        report: Report::new("services", "services", Duration::from_secs(5)),
        errors: 0,
        last_error: None,
    };
    handles.push(threads::spawn("services", limits::STACK, move || source.run(&from, &until))?);
    Ok(())
}

struct Row {
    service: Service,
    can: Vec<String>,
    told: Option<ServiceStatus>,
    /// The command and what it waits for.
    order: Option<(String, Order)>,
}

struct Services {
    context: Context,
    systemctl: Systemctl,
    rows: Vec<Row>,
    own: Option<String>,
    report: Report,
    errors: u64,
    last_error: Option<String>,
}

/// An order to restart ourselves, on the shelf until it has had its effect.
#[derive(Serialize, Deserialize)]
struct OwnRestart {
    command_id: String,
    target: String,
    /// When it was given, in milliseconds of the wall clock.
    at_ms: u64,
    reason: Option<String>,
}

impl Services {
    fn run(mut self, orders: &Receiver<Command>, until: &Until) {
        self.come_back();
        let mut next = Instant::now();
        loop {
            select! {
                recv(until.daemon.receiver()) -> _ => break,
                recv(until.set.receiver()) -> _ => break,
                recv(orders) -> command => match command {
                    Ok(command) => {
                        self.take(command, until);
                        next = Instant::now();
                    }
                    Err(_) => break,
                },
                default(next.saturating_duration_since(Instant::now())) => {
                    self.look(until);
                    let busy = self.rows.iter().any(|row| row.order.is_some());
                    next = Instant::now() + if busy { SOON } else { EVERY };
                }
            }
        }
        for row in &self.rows {
            self.context.commands.disown(&format!("service/{}", row.service.name));
            if let Some((id, _)) = &row.order {
                self.finish(id, CommandState::Failed, None, Some("the services are being read anew"));
            }
        }
    }

    /// If this run is the effect of an order of the one before, says so.
    fn come_back(&self) {
        let store = &self.context.store;
        let waiting = store.shelf(SHELF).unwrap_or_default();
        for (_, bytes) in &waiting {
            let Ok(order) = serde_json::from_slice::<OwnRestart>(bytes) else { continue };
            let result = CommandResult {
                command_id: order.command_id,
                action: "restart".into(),
                target: order.target,
                state: CommandState::Completed,
                status: Some("active".into()),
                latency_ms: Wall::now().0.saturating_sub(order.at_ms),
                code: None,
                reason: order.reason,
            };
            let topic = Topic::parse("services").ok();
            if let Ok(draft) = Draft::on("command_result", topic, &result) {
                let _ = self.context.bus.publish(draft);
            }
        }
        if !waiting.is_empty()
            && let Err(e) = store.shelve(&[(SHELF.into(), None)])
        {
            log::warn!("failed to forget an order: {e}");
        }
    }

    fn take(&mut self, command: Command, until: &Until) {
        let name = command.target.strip_prefix("service/").unwrap_or_default();
        let Some(n) = self.rows.iter().position(|row| row.service.name == name) else { return };
        if self.rows[n].order.is_some() {
            let why = "another order for it is under way";
            return self.finish(&command.id, CommandState::Rejected, None, Some(why));
        }
        let unit = self.rows[n].service.unit.clone();
        let before = match self.systemctl.show(&[&unit], until) {
            Ok(units) => units.into_iter().next().unwrap_or_default(),
            Err(why) => return self.finish(&command.id, CommandState::Failed, None, Some(&why)),
        };
        let own = self.own.as_deref() == Some(unit.as_str());
        if own {
            // We are ended before we could see the effect; the next run says that it is there.
            let order = OwnRestart {
                command_id: command.id.clone(),
                target: command.target.clone(),
                at_ms: Wall::now().0,
                reason: command.reason.clone(),
            };
            let bytes = serde_json::to_vec(&order).unwrap_or_default();
            if let Err(e) = self.context.store.shelve(&[(SHELF.into(), Some(bytes))]) {
                let why = format!("the order can't be remembered across the restart: {e}");
                return self.finish(&command.id, CommandState::Failed, None, Some(&why));
            }
        }
        let by = command.by.as_deref().unwrap_or("somebody on this host");
        log::info!("{} {unit}, by {by}", command.action);
        if let Err(why) = self.systemctl.act(&command.action, &unit, until) {
            if own {
                let _ = self.context.store.shelve(&[(SHELF.into(), None)]);
            }
            return self.finish(&command.id, CommandState::Failed, None, Some(&why));
        }
        let order = Order { action: command.action, activated_us: before.activated_us };
        self.rows[n].order = Some((command.id, order));
    }

    fn look(&mut self, until: &Until) {
        let units: Vec<&str> = self.rows.iter().map(|row| row.service.unit.as_str()).collect();
        let shown = match self.systemctl.show(&units, until) {
            Ok(shown) => shown,
            Err(_) if until.is_over() => return,
            Err(why) => {
                self.errors += 1;
                if self.last_error.as_ref() != Some(&why) {
                    log::warn!("services: {why}");
                    self.last_error = Some(why);
                }
                self.report.state(SourceState::Error);
                self.report.faults(self.errors, 0, self.last_error.as_deref());
                return self.report.flush(&self.context.bus);
            }
        };
        if self.last_error.take().is_some() {
            log::info!("services: systemctl answers again");
        }
        self.report.state(SourceState::Ok);
        self.report.seen(Wall::now());
        self.report.faults(self.errors, 0, None);
        let mut finished = Vec::new();
        for (row, unit) in self.rows.iter_mut().zip(&shown) {
            let status = row.status(unit);
            // A state is as long as it is: a later look that computes the same moment a little differently is no news.
            let news = row.told.as_ref().is_none_or(|told| {
                ServiceStatus { since: None, ..told.clone() }
                    != ServiceStatus { since: None, ..status.clone() }
                    || told.since.zip(status.since).is_none_or(|(a, b)| a.0.abs_diff(b.0) > 1_500)
                        && told.since != status.since
            });
            if news {
                publish(&self.context.bus, "service_status", &status);
                row.told = Some(status.clone());
            }
            if let Some((id, order)) = &row.order {
                match watch::progress(order, unit) {
                    Progress::Waiting => {}
                    Progress::Done => {
                        finished.push((id.clone(), CommandState::Completed, status.status, None));
                        row.order = None;
                    }
                    Progress::Failed(why) => {
                        finished.push((id.clone(), CommandState::Failed, status.status, Some(why)));
                        row.order = None;
                    }
                }
            }
            // The desk has called it off: it took too long.
            if row.order.as_ref().is_some_and(|(id, _)| {
                self.context.commands.lookup(id).is_none_or(|r| r.state != CommandState::Accepted)
            }) {
                row.order = None;
            }
        }
        for (id, state, status, why) in finished {
            self.finish(&id, state, Some(&status), why.as_deref());
        }
        self.report.flush(&self.context.bus);
    }

    fn finish(&self, id: &str, state: CommandState, status: Option<&str>, reason: Option<&str>) {
        self.context.commands.finish(id, state, status, reason);
    }
}

impl Row {
    fn status(&self, unit: &Unit) -> ServiceStatus {
        let ago = (unit.changed_us > 0)
            .then(|| monotonic().saturating_sub(Duration::from_micros(unit.changed_us)).as_millis() as u64);
        let description = if unit.load == "not-found" {
            Some(format!("there is no unit {}", self.service.unit))
        } else {
            self.service.title.clone().or_else(|| Some(unit.description.clone()).filter(|d| !d.is_empty()))
        };
        ServiceStatus {
            name: self.service.name.clone(),
            status: watch::status(unit).into(),
            since: ago.map(|ms| Wall(Wall::now().0.saturating_sub(ms))),
            description,
            restarts: unit.restarts,
            can: self.can.clone(),
            unit: Some(self.service.unit.clone()),
            triggered_by: unit.triggered_by.clone(),
        }
    }
}
