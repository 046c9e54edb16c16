//! A scan again, as it went: its rows and lines in the order and at the pace in which they came, or faster. Pure but for
//! reading the rows; whoever plays it back does the waiting.
//!
//! Frames are numbered by what they are, not by when they are sent: the same scan at the same rate gives the same frames,
//! so a reader that lost its connection goes on behind the last one it has.

use super::frames::{batch_text, point_text};
use super::rows::View;
use crate::clock::Wall;
use crate::store::{Chunk, StoreError};
use std::collections::VecDeque;
use std::time::Duration;

/// Rows that are due within this time are one frame, as in the original: less than a tenth, so that ten rows a second stay ten frames.
const FRAME_S: f64 = 0.099;
/// Rows of one frame.
const ROWS: usize = 500;

/// A line of the scan's log.
#[derive(Clone, Debug)]
pub struct Line {
    /// Its type: `queue_log` or `log`.
    pub kind: String,
    /// When it was said.
    pub at: Wall,
    /// Its payload.
    pub payload: String,
}

/// What comes next.
#[derive(Clone, Debug, PartialEq)]
pub struct Frame {
    /// How long after the beginning, at the rate that is played.
    pub due: Duration,
    /// Its type.
    pub kind: String,
    /// Its payload, as it was.
    pub payload: String,
}

/// One measurement on its way.
struct Track {
    view: View,
    chunks: VecDeque<Chunk>,
    /// The row that comes next in the first chunk.
    row: usize,
    next: Option<u64>,
}

/// A scan that is played back.
pub struct Playback {
    tracks: Vec<Track>,
    /// Each with its `t`.
    lines: VecDeque<(f64, Line)>,
    rate: f64,
    /// The wall time at which `t_rel` is 0.
    zero: Wall,
    /// `t` of the first frame.
    begin: Option<f64>,
}

impl Playback {
    /// Plays these measurements of a scan and lines (oldest first) at `rate` times their pace, from row `from` on.
    ///
    /// # Errors
    /// The store can't be read.
    pub fn new(views: Vec<View>, lines: Vec<Line>, rate: f64, from: u64) -> Result<Playback, StoreError> {
        let mut zero = None;
        let mut tracks = Vec::new();
        for view in views {
            if let Some((t, at)) = view.moment(view.first)? {
                let began = Wall(at.0.saturating_add_signed(-(t.unwrap_or(0.0) * 1000.0) as i64));
                zero = Some(zero.map_or(began, |zero: Wall| zero.min(began)));
            }
            let next = Some(from.max(view.first)).filter(|at| *at < view.next);
            tracks.push(Track { view, chunks: VecDeque::new(), row: 0, next });
        }
        let zero = zero.or(lines.first().map(|line| line.at)).unwrap_or(Wall(0));
        let (mut first, mut last) = (f64::INFINITY, f64::NEG_INFINITY);
        for track in &mut tracks {
            if let Some(t) = track.time(zero)? {
                first = first.min(t);
                if let Some((t, at)) = track.view.moment(track.view.next - 1)? {
                    last = last.max(t.unwrap_or_else(|| since(zero, at)));
                }
            }
        }
        let lines = lines.into_iter().map(|line| (since(zero, line.at), line));
        // What was said before the first row that is played is of no use without it.
        let lines = lines.filter(|(t, _)| from == 0 || *t >= first);
        // What was said before the first row comes with it, and nobody waits for what was said after the last.
        let within = |t: f64| if first <= last { t.clamp(first, last) } else { t };
        let lines = lines.map(|(t, line)| (within(t), line)).collect();
        Ok(Playback { tracks, lines, rate, zero, begin: None })
    }

    /// When the scan began.
    pub fn start_time(&self) -> Wall {
        self.zero
    }

    /// Rows of all measurements.
    pub fn points_total(&self) -> u64 {
        self.tracks.iter().map(|track| track.view.len()).sum()
    }

    /// The next frame; none at the end.
    ///
    /// # Errors
    /// The store can't be read.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, StoreError> {
        let zero = self.zero;
        let mut first: Option<(usize, f64)> = None;
        for (n, track) in self.tracks.iter_mut().enumerate() {
            if let Some(t) = track.time(zero)?
                && first.is_none_or(|(_, before)| t < before)
            {
                first = Some((n, t));
            }
        }
        let line = self.lines.front().map(|(t, _)| *t);
        if let Some(t) = line.filter(|t| first.is_none_or(|(_, row)| *t <= row))
            && let Some((_, Line { kind, payload, .. })) = self.lines.pop_front()
        {
            return Ok(Some(Frame { due: self.due(t), kind, payload }));
        }
        let Some((track, t)) = first else { return Ok(None) };
        let due = self.due(t);
        // As many as are due with it, as long as nothing else comes in between.
        let mut until = t + FRAME_S * self.rate;
        if let Some(line) = line {
            until = until.min(line);
        }
        for (n, other) in self.tracks.iter_mut().enumerate() {
            if let Some(t) = other.time(zero)?
                && n != track
            {
                until = until.min(t);
            }
        }
        let Some(track) = self.tracks.get_mut(track) else { return Ok(None) };
        let rows = track.take(zero, until)?;
        let (scan, measurement) = (&track.view.scan, &track.view.measurement);
        let (kind, payload) = match rows.len() {
            1 => ("data_point", point_text(scan, measurement, &rows, 0)),
            _ => ("data_batch", batch_text(scan, measurement, &rows)),
        };
        Ok(Some(Frame { due, kind: kind.into(), payload }))
    }

    fn due(&mut self, t: f64) -> Duration {
        let begin = *self.begin.get_or_insert(t);
        Duration::try_from_secs_f64((t - begin).max(0.0) / self.rate).unwrap_or(Duration::MAX)
    }
}

impl View {
    /// `t_rel` and the time of a row.
    fn moment(&self, index: u64) -> Result<Option<(Option<f64>, Wall)>, StoreError> {
        let page = self.rows(index, 1)?;
        let label = page.chunks.first().and_then(|chunk| chunk.labels.first());
        Ok(label.map(|label| (label.t_rel, label.at)))
    }
}

impl Track {
    /// When the next row was measured; none at the end.
    fn time(&mut self, zero: Wall) -> Result<Option<f64>, StoreError> {
        while self.chunks.front().is_none_or(|chunk| self.row >= chunk.len()) {
            self.row = 0;
            self.chunks.pop_front();
            if self.chunks.is_empty() {
                let Some(from) = self.next else { return Ok(None) };
                let page = self.view.rows(from, 1_024)?;
                self.next = page.next;
                self.chunks = page.chunks.into();
                if self.chunks.is_empty() {
                    return Ok(None);
                }
            }
        }
        let label = self.chunks.front().and_then(|chunk| chunk.labels.get(self.row));
        Ok(label.map(|label| label.t_rel.unwrap_or_else(|| since(zero, label.at))))
    }

    /// The next row and those of its chunk that come before `until`.
    fn take(&mut self, zero: Wall, until: f64) -> Result<Chunk, StoreError> {
        let begin = self.row;
        let mut bytes = 0;
        loop {
            bytes += self.chunks.front().map_or(0, |chunk| chunk.row_bytes(self.row));
            self.row += 1;
            let Some(chunk) = self.chunks.front() else { return Ok(Chunk::default()) };
            let ends = self.row >= chunk.len() || self.row - begin >= ROWS;
            let label = chunk.labels.get(self.row);
            let t = label.map(|label| label.t_rel.unwrap_or_else(|| since(zero, label.at)));
            if ends || t.is_none_or(|t| t >= until) || bytes > crate::limits::ROW_BYTES / 2 {
                return Ok(chunk.part(chunk.first + begin as u64, chunk.first + self.row as u64));
            }
        }
    }
}

fn since(zero: Wall, at: Wall) -> f64 {
    (at.0 as f64 - zero.0 as f64) / 1000.0
}

#[cfg(test)]
mod tests {
    use super::super::frames::read;
    use super::super::tests::{json_row, world};
    use super::*;
    use serde_json::json;

    #[test]
    fn a_scan_comes_again_in_order_and_whole() {
        let world = world();
        let rows: Vec<_> =
            (0..900).map(|n| json_row(n, &json!({ "v": n as f64 / 8.0, "word": "x" }))).collect();
        world.book.append("S1", "main", rows.clone(), Vec::new()).unwrap();
        let other: Vec<_> = (0..30)
            .map(|n| {
                let mut row = json_row(n, &json!({ "t": n }));
                row.t_rel = Some(n as f64 * 3.0 + 0.05);
                row.timestamp = Wall(1_767_799_800_050 + n * 3_000);
                row
            })
            .collect();
        world.book.append("S1", "slow", other.clone(), Vec::new()).unwrap();
        let views = || ["main", "slow"].map(|m| world.book.view("S1", Some(m)).unwrap().unwrap()).to_vec();
        let lines = || {
            [30_020_u64, 60_000, 9_000_000_000]
                .map(|ms| Line {
                    kind: "queue_log".into(),
                    at: Wall(1_767_799_800_000 + ms),
                    payload: format!("{{\"n\":{ms}}}"),
                })
                .to_vec()
        };
        for rate in [1.0, 5.0, 100.0] {
            let mut playback = Playback::new(views(), lines(), rate, 0).unwrap();
            assert_eq!((playback.points_total(), playback.start_time()), (930, Wall(1_767_799_800_000)));
            let (mut main, mut slow, mut said, mut last, mut frames) =
                (Vec::new(), Vec::new(), Vec::new(), Duration::ZERO, 0);
            let mut newest = -1.0;
            while let Some(frame) = playback.next_frame().unwrap() {
                frames += 1;
                assert!(frame.due >= last);
                last = frame.due;
                if frame.kind == "queue_log" {
                    said.push(main.len());
                    continue;
                }
                let (_, measurement, rows) = read(&frame.kind, &frame.payload, Wall(0)).unwrap();
                assert_eq!(frame.kind == "data_point", rows.len() == 1);
                for row in &rows {
                    assert!(row.t_rel.unwrap() >= newest, "over all measurements");
                    newest = row.t_rel.unwrap();
                }
                if measurement == "main" { main.extend(rows) } else { slow.extend(rows) }
            }
            assert_eq!((&main, &slow), (&rows, &other));
            assert_eq!(said, [301, 600, 899], "between the rows it was said between, or at the end");
            assert!((last.as_secs_f64() - 89.9 / rate).abs() < 0.11, "{last:?}");
            assert!((frames > 900) == (rate < 2.0), "{frames} frames at {rate}");
        }
        let mut late = Playback::new(views(), lines(), 1.0, 400).unwrap();
        let first = late.next_frame().unwrap().unwrap();
        assert_eq!(first.due, Duration::ZERO);
        assert!(first.payload.contains("\"sequence_index\":400"), "{}", first.payload);
    }
}
