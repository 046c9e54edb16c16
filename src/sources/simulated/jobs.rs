//! The recorder's work behind the scenes: encoding its recordings, taking in files that were dropped.

use super::out::Out;
use super::{Moment, STEP_S, STEPS_PER_S, compact, round};
use crate::model::{JobState, JobStatus};
use crate::random::Random;
use std::collections::VecDeque;

/// Jobs that wait; a recording beyond them is kept as it is.
const WAITING: usize = 16;

struct Job {
    status: JobStatus,
    /// Seconds of work.
    takes_s: f64,
    /// Seconds of work done.
    worked_s: f64,
    /// At which share it fails, if it does.
    fails_at: Option<f64>,
}

/// Jobs, one running at a time.
pub(super) struct Jobs {
    random: Random,
    waiting: VecDeque<Job>,
    running: Option<Job>,
    next_ingest_s: f64,
}

impl Jobs {
    /// No work yet.
    pub fn new(seed: u64) -> Self {
        let mut random = Random::of(seed, "jobs");
        let next_ingest_s = random.between(15.0, 30.0);
        Jobs { random, waiting: VecDeque::new(), running: None, next_ingest_s }
    }

    /// A recording of `duration_s` wants encoding.
    pub fn encode(&mut self, at: Moment, recording: &str, duration_s: f64, out: &mut Out) {
        let takes_s = (0.25 * duration_s).clamp(2.0, 20.0);
        let total = (duration_s * 1000.0) as u64;
        let name = format!("encode-{recording}");
        self.add(
            at,
            Job {
                status: blank(name, "encode", recording.into(), total),
                takes_s,
                worked_s: 0.0,
                fails_at: None,
            },
            out,
        );
    }

    fn add(&mut self, at: Moment, job: Job, out: &mut Out) {
        if self.waiting.len() < WAITING {
            out.state(at, "job_status", &job.status.job_id, &job.status);
            self.waiting.push_back(job);
        }
    }

    /// One step of work.
    pub fn step(&mut self, at: Moment, out: &mut Out) {
        if at.t() >= self.next_ingest_s {
            self.next_ingest_s = at.t() + self.random.between(60.0, 120.0);
            let files = 3 + self.random.below(6) as u64;
            let fails_at = self.random.chance(0.125).then(|| self.random.between(0.3, 0.9));
            let name = format!("ingest-{}", compact(at.wall));
            let status = blank(name, "ingest", "dropbox".into(), files);
            self.add(at, Job { status, takes_s: 2.0 * files as f64, worked_s: 0.0, fails_at }, out);
        }
        if self.running.is_none() {
            self.running = self.waiting.pop_front();
        }
        let Some(mut job) = self.running.take() else { return };
        job.worked_s += STEP_S;
        let share = (job.worked_s / job.takes_s).min(1.0);
        let status = &mut job.status;
        status.status = JobState::Running;
        status.progress = Some(round(share, 3));
        status.done = status.total.map(|total| (total as f64 * share) as u64);
        status.elapsed_s = Some(round(job.worked_s, 1));
        status.eta_s = Some(round(job.takes_s - job.worked_s, 1).max(0.0));
        status.message = Some(if status.kind == "ingest" {
            format!(
                "file {} of {}",
                (status.done.unwrap_or(0) + 1).min(status.total.unwrap_or(1)),
                status.total.unwrap_or(1)
            )
        } else {
            "encoding to Opus".into()
        });
        let failed = job.fails_at.is_some_and(|limit| share >= limit);
        if failed {
            status.status = JobState::Failed;
            status.message = None;
            status.error =
                Some("failed to read `noise-07.wav`: the file ends in the middle of a block".into());
        } else if share >= 1.0 {
            status.status = JobState::Completed;
            status.message = None;
        }
        if status.status == JobState::Running {
            if at.every(STEPS_PER_S) {
                out.state(at, "job_status", &status.job_id, status);
            }
            self.running = Some(job);
            return;
        }
        status.eta_s = None;
        out.retire("job_status", &status.job_id, status);
    }
}

fn blank(job_id: String, kind: &str, source: String, total: u64) -> JobStatus {
    JobStatus {
        job_id,
        kind: kind.into(),
        status: JobState::Queued,
        progress: Some(0.0),
        source: Some(source),
        message: None,
        done: Some(0),
        total: Some(total),
        elapsed_s: None,
        eta_s: None,
        error: None,
        deferred: None,
        reason: None,
        lease_s: None,
        allowed_actions: None,
    }
}

/// The end of a job of an earlier run that was not over.
pub(super) fn interrupted(mut job: JobStatus) -> Option<JobStatus> {
    if !matches!(job.status, JobState::Queued | JobState::Running) {
        return None;
    }
    job.status = JobState::Failed;
    job.error = Some("interrupted: telltale was restarted".into());
    job.message = None;
    job.eta_s = None;
    Some(job)
}
