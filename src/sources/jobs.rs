//! Jobs of other programs: each has a lease that every post renews, and one that shows no sign of life has failed.
//!
//! **Promises.** Every job that was posted ends: completed, failed or cancelled by its poster, or failed here when its
//! lease ran out. One that was under way when telltale ended gets one lease to show itself. A cancel is told to the poster
//! in the answer to its next post, and is done when the poster says so. What a program does not say and can be known is
//! added: elapsed time and the time to go, both by the monotonic clock. **Bounds.** At most [`limits::JOBS`] at a time.
//! There is no thread: posts and the daemon's tick do it all.

use super::monotonic;
use crate::bus::{Bus, Command, Commands};
use crate::limits;
use crate::model::{CommandState, Cursor, Draft, DraftError, JobState, JobStatus, TopicFilter};
use crossbeam::channel::{Receiver, Sender, bounded};
use serde_json::{Map, Value as Json, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// See the module above.
pub struct Jobs {
    bus: Arc<Bus>,
    commands: Arc<Commands>,
    inner: Mutex<BTreeMap<String, Job>>,
    inbox: (Sender<Command>, Receiver<Command>),
}

/// A job that has not ended.
struct Job {
    lease: Lease,
    pace: Pace,
    last: JobStatus,
    /// Commands to cancel it that have not ended.
    cancel: Vec<String>,
    /// Its poster is to be told that somebody wants it to end.
    unwanted: bool,
    /// It was under way before a restart: the event it was restored from.
    restored_from: Option<Cursor>,
}

/// How long a job may be silent: pure.
#[derive(Clone, Copy, Debug)]
struct Lease {
    time: Duration,
    renewed: Duration,
}

impl Lease {
    fn is_over(&self, now: Duration) -> bool {
        now.saturating_sub(self.renewed) >= self.time
    }
}

/// How a job gets on: pure.
#[derive(Clone, Copy, Debug, Default)]
struct Pace {
    /// Since when it runs.
    running: Option<Duration>,
    /// Where its progress is measured from.
    from: Option<(Duration, f64)>,
}

impl Pace {
    /// Takes how it stands; gives the time it has been running and the time to go, in seconds.
    fn take(&mut self, state: JobState, progress: Option<f64>, now: Duration) -> (Option<f64>, Option<f64>) {
        if state == JobState::Queued {
            *self = Pace::default();
            return (None, None);
        }
        let began = *self.running.get_or_insert(now);
        let elapsed = now.saturating_sub(began).as_secs_f64();
        let elapsed_s = Some((elapsed * 10.0).round() / 10.0);
        let (JobState::Running, Some(progress)) = (state, progress.filter(|p| (0.0..=1.0).contains(p)))
        else {
            return (elapsed_s, None);
        };
        // One that went back began anew.
        let from = self.from.filter(|(_, p)| progress >= *p).unwrap_or((now, progress));
        self.from = Some(from);
        let (took, done) = (now.saturating_sub(from.0).as_secs_f64(), progress - from.1);
        let eta = (took > 0.0 && done > 0.0).then(|| (took / done * (1.0 - progress)).ceil());
        (elapsed_s, eta.filter(|s| *s < 1e9))
    }
}

/// Why a post was not taken.
#[derive(Debug)]
pub enum JobRefused {
    /// The payload breaks a rule; the field says where.
    Wrong(DraftError),
    /// Too many jobs are under way.
    Full,
}

fn has_ended(state: JobState) -> bool {
    matches!(state, JobState::Completed | JobState::Failed | JobState::Cancelled)
}

impl Jobs {
    /// The jobs that were under way when telltale ended get one lease from now on.
    pub fn new(bus: Arc<Bus>, commands: Arc<Commands>) -> Self {
        let jobs = Jobs { bus, commands, inner: Mutex::default(), inbox: bounded(limits::ORDERS) };
        let filter = TopicFilter::parse("job/*").unwrap_or_default();
        let now = monotonic();
        for event in jobs.bus.snapshot(&filter).state.iter().filter(|e| &*e.kind == "job_status") {
            let Ok(last) = serde_json::from_str::<JobStatus>(event.payload()) else { continue };
            let mut inner = jobs.lock();
            if has_ended(last.status) || inner.len() >= limits::JOBS {
                continue;
            }
            let time = last.lease_s.map_or(limits::JOB_LEASE, Duration::from_secs);
            let job = Job {
                lease: Lease { time, renewed: now },
                pace: Pace::default(),
                cancel: Vec::new(),
                unwanted: false,
                restored_from: Some(event.cursor),
                last,
            };
            inner.insert(job.last.job_id.clone(), job);
        }
        jobs
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Job>> {
        self.inner.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// A program says how its job stands, in any number of statuses; `publish` takes the drafts while nothing else of the
    /// job can come between. Gives also whether the job is to be cancelled.
    ///
    /// # Errors
    /// See [`JobRefused`]; nothing was published then.
    pub fn post<R>(
        &self,
        id: &str,
        payloads: Vec<Map<String, Json>>,
        publish: impl FnOnce(Vec<Draft>) -> R,
    ) -> Result<(R, bool), JobRefused> {
        let mut inner = self.lock();
        self.take_commands(&mut inner);
        let mut drafts = Vec::new();
        let mut job = inner.remove(id);
        // One that was restored is not commanded until it has shown itself.
        let known = job.as_ref().is_some_and(|job| job.restored_from.is_none());
        let had = job.is_some();
        for payload in payloads {
            match self.taken(id, &mut job, payload, inner.len()) {
                Ok(draft) => drafts.push(draft),
                Err(why) => {
                    if let Some(job) = job.filter(|_| had) {
                        inner.insert(id.to_string(), job);
                    }
                    return Err(why);
                }
            }
        }
        let target = format!("job/{id}");
        let Some(job) = job else { return Ok((publish(drafts), false)) };
        if has_ended(job.last.status) {
            self.commands.disown(&target);
            let outcome = publish(drafts);
            self.end_commands(&job);
            return Ok((outcome, false));
        }
        if !known {
            self.commands.own_with(&target, &["cancel"], self.inbox.0.clone());
        }
        let unwanted = job.unwanted;
        inner.insert(id.to_string(), job);
        Ok((publish(drafts), unwanted))
    }

    /// One status: checked, completed, and what is known of the job brought up to date.
    fn taken(
        &self,
        id: &str,
        job: &mut Option<Job>,
        mut payload: Map<String, Json>,
        others: usize,
    ) -> Result<Draft, JobRefused> {
        let now = monotonic();
        let mut default = |name: &str, value: Json| {
            payload.entry(name).or_insert(value);
        };
        let last = job.as_ref().map(|job| &job.last);
        default("kind", json!(last.map_or("job", |last| last.kind.as_str())));
        default("status", json!(JobState::Running));
        default("progress", Json::Null);
        default("lease_s", json!(last.and_then(|last| last.lease_s).unwrap_or(limits::JOB_LEASE.as_secs())));
        if let Some(source) = last.and_then(|last| last.source.clone()) {
            default("source", json!(source));
        }
        payload.insert("job_id".into(), id.into());
        payload.remove("allowed_actions");
        let (least, most) = limits::JOB_LEASES;
        let lease = payload.get("lease_s").and_then(Json::as_u64).filter(|s| (least..=most).contains(s));
        let Some(lease_s) = lease else {
            return Err(JobRefused::Wrong(DraftError {
                field: "lease_s".into(),
                detail: format!(
                    "lease_s is {}; expected a whole number of seconds from {least} to {most}",
                    payload.get("lease_s").map(ToString::to_string).unwrap_or_default()
                ),
                fault: crate::model::Fault::Rule,
            }));
        };
        Draft::checked("job_status", None, payload.clone().into()).map_err(JobRefused::Wrong)?;
        let mut status: JobStatus = serde_json::from_value(payload.clone().into()).map_err(|e| {
            JobRefused::Wrong(DraftError {
                field: "payload".into(),
                detail: e.to_string(),
                fault: crate::model::Fault::Rule,
            })
        })?;
        if job.is_none() && others >= limits::JOBS && !has_ended(status.status) {
            return Err(JobRefused::Full);
        }
        if let (None, Some(done), Some(total)) =
            (status.progress, status.done, status.total.filter(|t| *t > 0))
        {
            status.progress = Some((done as f64 / total as f64).min(1.0));
            payload.insert("progress".into(), json!(status.progress));
        }
        let mut pace = job.as_ref().map(|job| job.pace).unwrap_or_default();
        let (elapsed_s, eta_s) = pace.take(status.status, status.progress, now);
        for (name, value) in [("elapsed_s", elapsed_s), ("eta_s", eta_s)] {
            if value.is_some() {
                payload.entry(name).or_insert(json!(value));
            }
        }
        let ended = has_ended(status.status);
        if ended {
            payload.remove("lease_s");
            payload.remove("eta_s");
        }
        payload.insert("allowed_actions".into(), if ended { json!([]) } else { json!(["cancel"]) });
        let lease = Lease { time: Duration::from_secs(lease_s), renewed: now };
        let (cancel, unwanted) = job.take().map(|job| (job.cancel, job.unwanted)).unwrap_or_default();
        status.lease_s = Some(lease_s);
        *job = Some(Job { lease, pace, last: status, cancel, unwanted, restored_from: None });
        let draft = Draft::of("job_status", &payload).map_err(JobRefused::Wrong)?;
        Ok(if ended { draft.retired() } else { draft })
    }

    /// About once a second: commands are taken, and leases that have run out end their jobs.
    pub fn tick(&self) {
        let now = monotonic();
        let mut inner = self.lock();
        self.take_commands(&mut inner);
        let over: Vec<String> =
            inner.iter().filter(|(_, job)| job.lease.is_over(now)).map(|(id, _)| id.clone()).collect();
        for id in over {
            let Some(mut job) = inner.remove(&id) else { continue };
            self.commands.disown(&format!("job/{id}"));
            let newest = self.bus.state_of(&format!("job_status/{id}")).map(|e| e.cursor);
            if job.restored_from.is_some() && job.restored_from != newest {
                // Somebody else speaks for it, on the bus itself.
                continue;
            }
            job.last.status = JobState::Failed;
            job.last.error = Some(format!("no sign of life for {} s", job.lease.time.as_secs()));
            job.last.eta_s = None;
            job.last.lease_s = None;
            job.last.allowed_actions = Some(Vec::new());
            log::warn!("job {id} failed: no sign of life for {} s", job.lease.time.as_secs());
            match Draft::of("job_status", &job.last) {
                Ok(draft) => {
                    if let Err(e) = self.bus.publish(draft.retired()) {
                        log::warn!("the end of job {id} was not published: {e}");
                    }
                }
                Err(e) => log::error!("the end of job {id} was not published: {e}"),
            }
            self.end_commands(&job);
        }
    }

    fn take_commands(&self, inner: &mut BTreeMap<String, Job>) {
        for command in self.inbox.1.try_iter() {
            let id = command.target.strip_prefix("job/").unwrap_or_default();
            match inner.get_mut(id) {
                Some(job) => {
                    job.unwanted = true;
                    job.cancel.push(command.id);
                    if job.cancel.len() > limits::ORDERS {
                        job.cancel.remove(0);
                    }
                }
                None => {
                    let why = Some("it has ended already");
                    self.commands.finish(&command.id, CommandState::Rejected, None, why);
                }
            }
        }
    }

    fn end_commands(&self, job: &Job) {
        let (state, word) = match job.last.status {
            JobState::Cancelled => (CommandState::Completed, "cancelled"),
            JobState::Completed => (CommandState::Failed, "completed"),
            _ => (CommandState::Failed, "failed"),
        };
        let why = (state == CommandState::Failed).then(|| format!("it {word} before it heard of it"));
        for id in &job.cancel {
            self.commands.finish(id, state, Some(word), why.as_deref());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::publish;
    use super::*;
    use crate::bus::{Start, Submitted};
    use proptest::prelude::*;

    fn setup() -> (Arc<Bus>, Arc<Commands>, Jobs) {
        let bus = Arc::new(Bus::new(Start { epoch: 1, ..Start::default() }, Arc::default()));
        let commands = Arc::new(Commands::new(Arc::clone(&bus)));
        let jobs = Jobs::new(Arc::clone(&bus), Arc::clone(&commands));
        (bus, commands, jobs)
    }

    fn post(jobs: &Jobs, id: &str, payload: Json) -> Result<bool, JobRefused> {
        let payload = serde_json::from_value(payload).unwrap();
        let publish = |drafts: Vec<Draft>| drafts.into_iter().for_each(|d| _ = jobs.bus.publish(d).unwrap());
        jobs.post(id, vec![payload], publish).map(|(_, cancel)| cancel)
    }

    fn state(bus: &Bus, id: &str) -> Json {
        serde_json::from_str(bus.state_of(&format!("job_status/{id}")).unwrap().payload()).unwrap()
    }

    fn cancel(commands: &Commands, id: &str, job: &str) -> Submitted {
        commands.submit(Command {
            id: id.into(),
            target: format!("job/{job}"),
            action: "cancel".into(),
            params: Map::new(),
            by: None,
            reason: None,
        })
    }

    #[test]
    fn a_silent_job_has_failed() {
        let (bus, commands, jobs) = setup();
        post(&jobs, "j", json!({ "kind": "encode", "progress": 0.25, "source": "live" })).unwrap();
        assert_eq!(
            (&state(&bus, "j")["lease_s"], &state(&bus, "j")["allowed_actions"]),
            (&json!(60), &json!(["cancel"]))
        );
        jobs.tick();
        assert_eq!(state(&bus, "j")["status"], "running");
        jobs.lock().get_mut("j").unwrap().lease.time = Duration::ZERO;
        jobs.tick();
        let end = state(&bus, "j");
        assert_eq!(
            (&end["status"], &end["error"], &end["kind"], &end["progress"]),
            (&json!("failed"), &json!("no sign of life for 0 s"), &json!("encode"), &json!(0.25))
        );
        assert!(bus.state_of("job_status/j").unwrap().is_retired());
        assert!(matches!(cancel(&commands, "c", "j"), Submitted::NoTarget));
    }

    #[test]
    fn the_poster_hears_of_a_cancel_and_ends_it() {
        let (bus, commands, jobs) = setup();
        assert!(
            !post(
                &jobs,
                "j",
                json!({ "status": "queued", "deferred": true, "reason": "the recorder records" })
            )
            .unwrap()
        );
        assert!(matches!(cancel(&commands, "c", "j"), Submitted::Accepted(_)));
        assert!(post(&jobs, "j", json!({ "progress": 0.5 })).unwrap());
        assert!(post(&jobs, "j", json!({ "progress": 0.6 })).unwrap(), "until it has ended");
        assert_eq!(commands.lookup("c").unwrap().state, CommandState::Accepted);
        assert!(!post(&jobs, "j", json!({ "status": "cancelled" })).unwrap());
        assert_eq!(commands.lookup("c").unwrap().state, CommandState::Completed);
        assert!(bus.state_of("job_status/j").unwrap().is_retired());
        // Again, under the same name, and it ends by itself.
        post(&jobs, "j", json!({})).unwrap();
        cancel(&commands, "d", "j");
        post(&jobs, "j", json!({ "status": "completed" })).unwrap();
        assert_eq!(commands.lookup("d").unwrap().state, CommandState::Failed);
    }

    #[test]
    fn a_restart_gives_one_lease() {
        let (bus, commands, jobs) = setup();
        post(&jobs, "mine", json!({ "lease_s": 5 })).unwrap();
        post(&jobs, "other", json!({})).unwrap();
        drop(jobs);
        let jobs = Jobs::new(Arc::clone(&bus), Arc::clone(&commands));
        assert_eq!(jobs.lock()["mine"].lease.time, Duration::from_secs(5));
        publish(
            &bus,
            "job_status",
            &json!({ "job_id": "other", "kind": "x", "status": "running", "progress": 0.1 }),
        );
        jobs.lock().values_mut().for_each(|job| job.lease.time = Duration::ZERO);
        jobs.tick();
        assert_eq!(
            (&state(&bus, "mine")["status"], &state(&bus, "other")["status"]),
            (&json!("failed"), &json!("running"))
        );
    }

    #[test]
    fn a_post_that_breaks_a_rule_changes_nothing() {
        let (bus, _, jobs) = setup();
        post(&jobs, "j", json!({ "progress": 0.1 })).unwrap();
        for bad in [json!({ "lease_s": 4 }), json!({ "lease_s": "1m" }), json!({ "status": "dancing" })] {
            assert!(matches!(post(&jobs, "j", bad), Err(JobRefused::Wrong(_))));
        }
        assert_eq!((&state(&bus, "j")["progress"], jobs.lock().len()), (&json!(0.1), 1));
        assert!(matches!(post(&jobs, "new", json!({ "lease_s": 4 })), Err(JobRefused::Wrong(_))));
        assert_eq!(jobs.lock().len(), 1);
        for n in 1..limits::JOBS {
            post(&jobs, &format!("x{n}"), json!({})).unwrap();
        }
        assert!(matches!(post(&jobs, "y", json!({})), Err(JobRefused::Full)));
        post(&jobs, "j", json!({ "progress": 0.2 })).unwrap();
    }

    #[test]
    fn the_time_to_go_follows_the_pace() {
        let s = Duration::from_secs;
        let mut pace = Pace::default();
        assert_eq!(pace.take(JobState::Queued, None, s(0)), (None, None));
        assert_eq!(pace.take(JobState::Running, Some(0.2), s(10)), (Some(0.0), None));
        assert_eq!(pace.take(JobState::Running, Some(0.4), s(20)), (Some(10.0), Some(30.0)));
        assert_eq!(pace.take(JobState::Running, Some(0.1), s(30)), (Some(20.0), None), "it began anew");
        assert_eq!(pace.take(JobState::Running, None, s(40)), (Some(30.0), None));
        assert_eq!(pace.take(JobState::Completed, Some(1.0), s(50)), (Some(40.0), None));
    }

    proptest! {
        #[test]
        fn times_are_sane(steps in proptest::collection::vec((0u64..100, proptest::option::of(-1.0f64..2.0)), 1..50)) {
            let mut pace = Pace::default();
            let mut now = 0;
            for (gap, progress) in steps {
                now += gap;
                let (elapsed, eta) = pace.take(JobState::Running, progress, Duration::from_secs(now));
                prop_assert!(elapsed.is_some_and(|e| (0.0..=now as f64).contains(&e)));
                prop_assert!(eta.is_none_or(|e| e.is_finite() && e >= 0.0));
            }
        }
    }
}
