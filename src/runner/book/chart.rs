//! A measurement as a chart: rows as they are where they are few, else the least and the greatest of each stretch.
//!
//! Promises: no extreme is missed, whatever is charted; the first and the last row are in it; stretches begin at fixed
//! multiples, so that a chart of a running scan does not jitter as it grows; what is read grows with the points asked for,
//! not with the rows. Where rows are missing, or come later than three times the usual interval, there is a row of nulls.

use super::rows::View;
use crate::runner::data::{Column, ColumnRole};
use crate::store::{BLOCK, StoreError, Summary, Times, summarise};
use serde::Serialize;

/// Points of a chart.
pub const POINTS: (usize, usize) = (10, 8_192);
/// Columns of a chart.
pub const SERIES: usize = 64;
/// Rows that are unpacked for a chart at most; of more, stretches of whole blocks are taken, which are not.
const UNPACKED: u64 = 512 * BLOCK;
/// Rows of a stretch in a block that is unpacked.
const SMALL: u64 = 16;
/// So many usual intervals without a row are a gap.
const GAP: f64 = 3.0;

/// What is to be charted.
#[derive(Clone, Debug, Default)]
pub struct Ask {
    /// A column, `t_rel` or `index`; none: the innermost axis, else `t_rel`, else `index`.
    pub x: Option<String>,
    /// Columns; none: every measured number.
    pub y: Vec<String>,
    /// The first index.
    pub from: Option<u64>,
    /// The last index.
    pub to: Option<u64>,
    /// From this `t_rel` on: to the block before it where there are many rows.
    pub from_t: Option<f64>,
    /// Up to this `t_rel`.
    pub to_t: Option<f64>,
    /// About how many points.
    pub points: usize,
    /// Rows as they are, the first of them that fit.
    pub raw: bool,
}

/// What a list of numbers is.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Series {
    /// A column, `t_rel` or `index`.
    pub name: String,
    /// Its unit.
    pub unit: Option<String>,
}

/// Lists of the same length: x, then each y.
#[derive(Clone, Debug, Serialize)]
pub struct Chart {
    /// The scan.
    pub scan_id: String,
    /// The measurement.
    pub measurement: String,
    /// What x is.
    pub x: Series,
    /// What the others are.
    pub y: Vec<Series>,
    /// The numbers; a row whose y are all null is a gap.
    pub data: Vec<Vec<Option<f64>>>,
    /// The index of each row; null in a gap.
    pub index: Vec<Option<u64>>,
    /// Rows of the measurement.
    pub total: u64,
    /// The index of the last one.
    pub last_index: Option<u64>,
    /// `raw` or `minmax`.
    pub method: &'static str,
    /// Whether the scan has ended.
    pub ended: bool,
}

/// Why there is no chart.
#[derive(Debug)]
pub enum ChartError {
    /// There is no such column; with those there are.
    Column(String, Vec<String>),
    /// The store can't be read.
    Store(StoreError),
}

impl From<StoreError> for ChartError {
    fn from(e: StoreError) -> Self {
        ChartError::Store(e)
    }
}

/// What is charted of a row.
struct Point {
    index: u64,
    t: Option<f64>,
    x: Option<f64>,
    y: Vec<Option<f64>>,
}

/// Where x comes from.
enum X {
    Index,
    Time,
    Column(String),
}

impl View {
    /// The chart that is asked for, and how many rows of the table were read.
    ///
    /// # Errors
    /// See [`ChartError`].
    pub fn chart(&self, ask: &Ask) -> Result<(Chart, usize), ChartError> {
        let (x, y) = self.axes(ask)?;
        let unit = |name: &str| self.unit(name).map(str::to_string);
        let series = |name: &str| Series { name: name.into(), unit: unit(name) };
        let mut chart = Chart {
            scan_id: self.scan.clone(),
            measurement: self.measurement.clone(),
            x: match &x {
                X::Index => Series { name: "index".into(), unit: None },
                X::Time => Series { name: "t_rel".into(), unit: Some("s".into()) },
                X::Column(name) => series(name),
            },
            y: y.iter().map(|name| series(name)).collect(),
            data: vec![Vec::new(); y.len() + 1],
            index: Vec::new(),
            total: self.len(),
            last_index: self.last_index(),
            method: "raw",
            ended: self.ended,
        };
        let (mut from, mut to) = (
            ask.from.unwrap_or(0).max(self.first),
            ask.to.map_or(self.next, |to| to.saturating_add(1)).min(self.next),
        );
        if let Some(t) = ask.from_t {
            from = self.at_time((from, to), t)?.max(from);
        }
        if let Some(t) = ask.to_t {
            to = (self.at_time((from, to), t)? + BLOCK).min(to);
        }
        if from >= to {
            return Ok((chart, 0));
        }
        let points = ask.points.clamp(POINTS.0, POINTS.1);
        if ask.raw || to - from <= points as u64 {
            let read = self.raw(&mut chart, (&x, &y), (from, to.min(from + points as u64)), ask)?;
            return Ok((chart, read));
        }
        chart.method = "minmax";
        let read = self.minmax(&mut chart, (&x, &y), (from, to), points)?;
        Ok((chart, read))
    }

    fn axes(&self, ask: &Ask) -> Result<(X, Vec<String>), ChartError> {
        let unknown = |name: &str| {
            ChartError::Column(name.into(), self.columns.iter().map(|c| c.name.clone()).collect())
        };
        let there = |name: &str| self.columns.iter().any(|c| c.name == name);
        let innermost = self.columns.iter().filter(|c| c.axis.is_some()).max_by_key(|c| c.axis);
        let x = match ask.x.as_deref().filter(|name| !name.is_empty()) {
            Some("index") if !there("index") => X::Index,
            Some("t_rel") if !there("t_rel") => X::Time,
            Some(name) if there(name) => X::Column(name.into()),
            Some(name) => return Err(unknown(name)),
            None => match innermost {
                Some(column) => X::Column(column.name.clone()),
                None if self.has_times()? => X::Time,
                None => X::Index,
            },
        };
        let is_number = |c: &&Column| matches!(c.dtype.as_deref(), None | Some("number" | "integer"));
        let y = if ask.y.is_empty() {
            let x_name = if let X::Column(name) = &x { name } else { "" };
            let numbers = || self.columns.iter().filter(is_number).filter(|c| c.name != x_name);
            let measured: Vec<&Column> =
                numbers().filter(|c| c.role != ColumnRole::Setpoint && c.axis.is_none()).collect();
            let some = if measured.is_empty() { numbers().collect() } else { measured };
            some.into_iter().take(SERIES).map(|c| c.name.clone()).collect()
        } else {
            match ask.y.iter().find(|name| !there(name)) {
                Some(name) => return Err(unknown(name)),
                None => ask.y.iter().take(SERIES).cloned().collect(),
            }
        };
        Ok((x, y))
    }

    fn has_times(&self) -> Result<bool, StoreError> {
        let page = self.rows(self.first, 1)?;
        Ok(page.chunks.first().and_then(|c| c.labels.first()).is_some_and(|l| l.t_rel.is_some()))
    }

    /// The first row of the block that holds this time.
    fn at_time(&self, (from, to): (u64, u64), t: f64) -> Result<u64, StoreError> {
        for chunk in self.tail.iter().rev() {
            if chunk.labels.first().and_then(|l| l.t_rel).is_some_and(|begins| begins <= t) {
                return Ok(chunk.first);
            }
        }
        let to = to.min(self.in_store());
        self.store().block_at_time(&self.scan, &self.measurement, (from.min(to), to), t)
    }

    fn raw(
        &self,
        chart: &mut Chart,
        (x, y): (&X, &[String]),
        (from, to): (u64, u64),
        ask: &Ask,
    ) -> Result<usize, StoreError> {
        // Of each row what is charted, not what else it has.
        let mut points: Vec<Point> = Vec::new();
        let (mut at, mut read) = (Some(from), 0);
        while let Some(from) = at.filter(|from| *from < to) {
            let page = self.rows(from, to - from)?;
            for chunk in page.chunks {
                read += 1;
                points.extend(chunk.labels.iter().enumerate().map(|(row, label)| {
                    let index = chunk.first + row as u64;
                    let value = match x {
                        X::Index => Some(index as f64),
                        X::Time => label.t_rel,
                        X::Column(name) => chunk.cell(name, row).number(),
                    };
                    let y = y.iter().map(|name| chunk.cell(name, row).number()).collect();
                    Point { index, t: label.t_rel, x: value, y }
                }));
            }
            at = page.next;
        }
        let within = |t: Option<f64>| {
            (ask.from_t.is_none() || t >= ask.from_t) && (ask.to_t.is_none() || t <= ask.to_t)
        };
        let times: Vec<f64> = points.iter().filter_map(|point| point.t).collect();
        let longest = GAP * median(times.windows(2).map(|w| w[1] - w[0]).collect());
        let mut before: Option<f64> = None;
        for Point { index, t, x, y } in points.into_iter().filter(|point| within(point.t)) {
            let Some(value) = x else { continue };
            if let (Some(a), Some(b)) = (before, t)
                && longest > 0.0
                && b - a > longest
            {
                chart.gap(value);
            }
            before = t.or(before);
            chart.push(index, value, y.into_iter());
        }
        Ok(read)
    }

    fn minmax(
        &self,
        chart: &mut Chart,
        (x, y): (&X, &[String]),
        (from, to): (u64, u64),
        points: usize,
    ) -> Result<usize, StoreError> {
        // Two points each; the first and the last row, and a part of a stretch at both ends.
        let stretches = ((points as u64 - 2) / 2).saturating_sub(2).max(1);
        let wanted = (to - from).div_ceil(stretches);
        let small = wanted < BLOCK && to - from <= UNPACKED;
        // What the pyramid has: twice as fine as wanted where that is possible.
        let unit = if small {
            SMALL
        } else {
            let mut unit = BLOCK;
            while unit * 16 * 2 <= wanted {
                unit *= 16;
            }
            unit
        };
        let rows = unit * wanted.div_ceil(unit);
        let stored = self.in_store().min(to);
        let (mut parts, mut read) = (Vec::new(), 0);
        let mut columns: Vec<&str> = y.iter().map(String::as_str).collect();
        columns.extend(if let X::Column(name) = x { Some(name.as_str()) } else { None });
        if from < stored {
            let of = (self.scan.as_str(), self.measurement.as_str());
            (parts, read) = self.store().summaries(of.0, of.1, (from, stored), unit, &columns)?;
        }
        for chunk in &self.tail {
            let begin = parts.len();
            summarise(chunk, (from, to), unit.min(BLOCK), &mut parts);
            parts.iter_mut().skip(begin).for_each(|part| part.keep(&columns));
        }
        let usual: Vec<f64> = parts
            .iter()
            .filter(|p| p.rows > 1)
            .filter_map(|p| p.times.map(|t| (t.last - t.first) / (p.rows - 1) as f64))
            .collect();
        let longest = GAP * median(usual);
        self.one(chart, (x, y), from)?;
        let mut before: Option<Times> = None;
        let mut parts = parts.into_iter().peekable();
        while let Some(mut stretch) = parts.next() {
            while let Some(next) = parts.next_if(|next| next.first / rows == stretch.first / rows) {
                stretch.join(&next);
            }
            draw(chart, (x, y), &stretch, before, longest);
            before = stretch.times.or(before);
        }
        self.one(chart, (x, y), to - 1)?;
        Ok(read + 2)
    }

    /// One row as it is.
    fn one(&self, chart: &mut Chart, (x, y): (&X, &[String]), index: u64) -> Result<(), StoreError> {
        for chunk in self.rows(index, 1)?.chunks {
            let value = match x {
                X::Index => Some(index as f64),
                X::Time => chunk.labels.first().and_then(|l| l.t_rel),
                X::Column(name) => chunk.cell(name, 0).number(),
            };
            if let Some(value) = value {
                chart.push(index, value, y.iter().map(|name| chunk.cell(name, 0).number()));
            }
        }
        Ok(())
    }
}

/// Draws a stretch as two points: the least and the greatest of each y, in the order in which they came, at the x of its
/// first and its last row.
fn draw(chart: &mut Chart, (x, y): (&X, &[String]), stretch: &Summary, before: Option<Times>, longest: f64) {
    let ends = match x {
        X::Index => Some((stretch.first as f64, (stretch.end() - 1) as f64)),
        X::Time => stretch.times.map(|t| (t.first, t.last)),
        X::Column(name) => stretch.span(name).map(|s| (s.first, s.last)),
    };
    let Some((begin, end)) = ends else { return };
    let far = |from: Option<f64>, to: f64| longest > 0.0 && from.is_some_and(|from| to - from > longest);
    if let Some(times) = stretch.times
        && far(before.map(|t| t.last), times.first)
    {
        chart.gap(begin);
    }
    let spans: Vec<_> = y.iter().map(|name| stretch.span(name)).collect();
    if stretch.rows == 1 {
        chart.push(stretch.first, begin, spans.iter().map(|s| s.map(|s| s.first)));
        return;
    }
    let in_order = |first: bool| {
        spans
            .iter()
            .map(move |span| span.map(|s| if (s.min_at <= s.max_at) == first { s.min } else { s.max }))
    };
    chart.push(stretch.first, begin, in_order(true));
    if stretch.times.is_some_and(|t| far(Some(0.0), t.longest)) {
        chart.gap(end);
    }
    chart.push(stretch.end() - 1, end, in_order(false));
}

impl Chart {
    fn push(&mut self, index: u64, x: f64, y: impl Iterator<Item = Option<f64>>) {
        self.index.push(Some(index));
        for (list, value) in self.data.iter_mut().zip(std::iter::once(Some(x)).chain(y)) {
            list.push(value);
        }
    }

    /// A row of nulls between the last and one at `next`.
    fn gap(&mut self, next: f64) {
        let Some(before) = self.data.first().and_then(|x| x.last().copied().flatten()) else { return };
        self.index.push(None);
        let x = if matches!(self.x.name.as_str(), "t_rel") { before + (next - before) / 2.0 } else { before };
        for (list, value) in self.data.iter_mut().zip(std::iter::once(Some(x)).chain(std::iter::repeat(None)))
        {
            list.push(value);
        }
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    let middle = values.len() / 2;
    if values.is_empty() {
        return 0.0;
    }
    *values.select_nth_unstable_by(middle, f64::total_cmp).1
}

#[cfg(test)]
mod tests {
    use super::super::tests::{World, json_row, world};
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn fill(world: &World, rows: &[serde_json::Value], write_at: usize) {
        for (n, part) in rows.chunks(5_000).enumerate() {
            let rows = part
                .iter()
                .enumerate()
                .map(|(m, data)| json_row(n as u64 * 5_000 + m as u64, data))
                .collect();
            world.book.append("S1", "main", rows, Vec::new()).unwrap();
            if n * 5_000 <= write_at {
                world.settle();
                world.book.write(n % 2 == 0).unwrap();
            }
        }
    }

    fn ask(points: usize) -> Ask {
        Ask { points, ..Ask::default() }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(6))]
        #[test]
        fn no_extreme_is_ever_missed(
            count in 1_usize..14_000,
            peaks in proptest::collection::vec((0_usize..14_000, -1e6..1e6_f64), 0..6),
            points in 10_usize..900,
            window in proptest::option::of((0_u64..14_000, 0_u64..14_000)),
            write_at in 0_usize..14_000,
        ) {
            let world = world();
            let mut values: Vec<f64> = (0..count).map(|n| (n % 7) as f64).collect();
            for (at, value) in peaks {
                if let Some(v) = values.get_mut(at) {
                    *v = value;
                }
            }
            fill(&world, &values.iter().map(|v| json!({ "v": v, "w": -v })).collect::<Vec<_>>(), write_at);
            let (from, to) = window.map_or((0, count as u64 - 1), |(a, b)| (a.min(b), a.max(b).min(count as u64 - 1)));
            let view = world.book.view("S1", None).unwrap().unwrap();
            let (chart, _) = view.chart(&Ask { from: Some(from), to: Some(to), x: Some("index".into()), ..ask(points) }).unwrap();
            let part = values.get(from as usize..=to as usize).unwrap_or_default();
            prop_assert_eq!(chart.data.len(), 3);
            prop_assert!(chart.data[1].len() <= points.max(10), "{} of {}", chart.data[1].len(), points);
            let least = |list: &[Option<f64>]| list.iter().flatten().copied().fold(f64::INFINITY, f64::min);
            let greatest = |list: &[Option<f64>]| list.iter().flatten().copied().fold(f64::NEG_INFINITY, f64::max);
            let expected: Vec<Option<f64>> = part.iter().map(|v| Some(*v)).collect();
            prop_assert_eq!((least(&chart.data[1]), greatest(&chart.data[1])), (least(&expected), greatest(&expected)));
            prop_assert_eq!((least(&chart.data[2]), greatest(&chart.data[2])), (-greatest(&expected), -least(&expected)));
            if !part.is_empty() {
                prop_assert_eq!((chart.data[0].first(), chart.data[0].last()), (Some(&Some(from as f64)), Some(&Some(to as f64))));
                prop_assert_eq!((chart.data[1].first(), chart.data[1].last()), (expected.first(), expected.last()));
            }
            prop_assert!(chart.data[0].is_sorted_by(|a, b| a <= b));
        }
    }

    #[test]
    fn a_long_scan_is_charted_from_a_bounded_number_of_reads() {
        let world = world();
        let rows: Vec<_> = (0..200_000)
            .map(|n| json!({ "v": if n == 123_457 { 99.0 } else { (n % 100) as f64 / 10.0 } }))
            .collect();
        fill(&world, &rows, usize::MAX);
        let view = world.book.view("S1", None).unwrap().unwrap();
        let (chart, read) = view.chart(&ask(800)).unwrap();
        assert_eq!((chart.method, chart.total), ("minmax", 200_000));
        assert!(read < 200, "{read} of {} blocks", 200_000 / 256);
        assert!((400..=800).contains(&chart.index.len()), "{}", chart.index.len());
        assert!(chart.data[1].contains(&Some(99.0)));
        // A part of it by time.
        let (part, _) =
            view.chart(&Ask { from_t: Some(12_345.0), to_t: Some(12_346.0), ..ask(800) }).unwrap();
        assert_eq!((part.method, part.index.len()), ("raw", 11));
        assert!(part.data[1].contains(&Some(99.0)));
    }

    #[test]
    fn a_pause_is_a_gap() {
        let world = world();
        let mut rows = Vec::new();
        for n in 0..2_000_u64 {
            let mut row = json_row(n, &json!({ "v": n, "x": n % 10 }));
            row.t_rel = Some(n as f64 * 0.1 + if n >= 1_000 { 500.0 } else { 0.0 });
            rows.push(row);
        }
        world.book.append("S1", "main", rows, Vec::new()).unwrap();
        let view = world.book.view("S1", None).unwrap().unwrap();
        for points in [100, 4_000] {
            let (chart, _) = view.chart(&Ask { y: vec!["v".into()], ..ask(points) }).unwrap();
            assert_eq!(chart.x.name, "t_rel");
            let gaps: Vec<usize> = (0..chart.index.len()).filter(|n| chart.index[*n].is_none()).collect();
            assert_eq!(gaps.len(), 1, "{points}");
            assert_eq!(chart.data[1][gaps[0]], None);
            assert!(chart.data[0].is_sorted_by(|a, b| a <= b));
        }
        assert!(matches!(view.chart(&Ask { y: vec!["z".into()], ..ask(100) }), Err(ChartError::Column(..))));
    }
}
