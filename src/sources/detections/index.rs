//! What was detected, in columns: enough of each detection to filter and to sum up, without its text. Pure.
//!
//! **Bounds.** So many detections, the oldest go first; so many different words of each kind, later ones count as one
//! called [`OTHERS`].

use crate::clock::Wall;
use crate::model::Detection;
use std::collections::{BTreeMap, HashMap, VecDeque};

/// What a word is called when there were too many different ones.
pub const OTHERS: &str = "(others)";
/// Different SKUs, labels, locations, sources or models.
const WORDS: usize = 4_096;
/// Bars of the histogram of confidence, from 0 to 1.
pub const BARS: usize = 20;

/// Numbers for words: 0 is none.
#[derive(Debug)]
struct Words {
    numbers: HashMap<String, u16>,
    words: Vec<String>,
}

impl Default for Words {
    fn default() -> Self {
        Words { numbers: HashMap::new(), words: vec![String::new(), OTHERS.into()] }
    }
}

impl Words {
    fn number(&mut self, word: Option<&str>) -> u16 {
        let Some(word) = word else { return 0 };
        if let Some(number) = self.numbers.get(word) {
            return *number;
        }
        if self.words.len() >= WORDS {
            return 1;
        }
        let number = self.words.len() as u16;
        self.words.push(word.to_string());
        self.numbers.insert(word.to_string(), number);
        number
    }

    fn find(&self, word: &str) -> Option<u16> {
        if word == OTHERS { Some(1) } else { self.numbers.get(word).copied() }
    }

    fn word(&self, number: u16) -> &str {
        self.words.get(number as usize).map_or("", String::as_str)
    }
}

#[derive(Clone, Copy, Debug)]
struct Row {
    seq: u64,
    at: Wall,
    confidence: f32,
    sku: u16,
    label: u16,
    location: u16,
    source: u16,
    model: u16,
}

/// See the module above.
#[derive(Debug)]
pub struct Index {
    rows: VecDeque<Row>,
    most: usize,
    skus: Words,
    labels: Words,
    locations: Words,
    sources: Words,
    models: Words,
}

/// Which detections are meant; what is not set does not matter.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(missing_docs)]
pub struct Filter {
    pub sku: Option<String>,
    pub label: Option<String>,
    pub location: Option<String>,
    pub source: Option<String>,
    /// From this time on.
    pub from: Option<Wall>,
    /// Before this time.
    pub to: Option<Wall>,
    pub min_confidence: Option<f64>,
}

/// What a filter selects, summed up.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize)]
#[allow(missing_docs)]
pub struct Summary {
    pub total: u64,
    pub unique_skus: u64,
    pub unique_labels: u64,
    pub unique_locations: u64,
    pub mean_confidence: Option<f64>,
    /// Counts of confidence in equal bars from 0 to 1.
    pub histogram: Vec<u64>,
    /// The most frequent first.
    pub labels: Vec<(String, u64)>,
    /// See `labels`.
    pub skus: Vec<(String, u64)>,
    /// See `labels`.
    pub locations: Vec<(String, u64)>,
    /// See `labels`.
    pub models: Vec<(String, u64)>,
    pub oldest: Option<Wall>,
    pub newest: Option<Wall>,
}

/// Of each kind of word, so many of the most frequent are named in a summary.
const NAMED: usize = 50;

impl Index {
    /// An index of at most so many.
    pub fn new(most: usize) -> Self {
        Index {
            rows: VecDeque::new(),
            most,
            skus: Words::default(),
            labels: Words::default(),
            locations: Words::default(),
            sources: Words::default(),
            models: Words::default(),
        }
    }

    /// Takes one in, which came after all others.
    pub fn add(&mut self, seq: u64, detection: &Detection) {
        if self.rows.back().is_some_and(|last| last.seq >= seq) {
            return;
        }
        if self.rows.len() >= self.most {
            self.rows.pop_front();
        }
        self.rows.push_back(Row {
            seq,
            at: detection.timestamp,
            confidence: detection.confidence as f32,
            sku: self.skus.number(detection.sku.as_deref()),
            label: self.labels.number(Some(&detection.label)),
            location: self.locations.number(detection.location.as_deref()),
            source: self.sources.number(detection.source.as_deref()),
            model: self.models.number(detection.model.as_deref()),
        });
    }

    /// Forgets those up to this seq: the store has them no more.
    pub fn forget_through(&mut self, seq: u64) {
        while self.rows.front().is_some_and(|row| row.seq <= seq) {
            self.rows.pop_front();
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The seqs of those that match, before `before`, the newest first, at most `most`; and whether there are more.
    pub fn select(&self, filter: &Filter, before: Option<u64>, most: usize) -> (Vec<u64>, bool) {
        let matching = self.matching(filter);
        let mut found = matching.rev().filter(|row| before.is_none_or(|b| row.seq < b)).map(|row| row.seq);
        let seqs: Vec<u64> = found.by_ref().take(most).collect();
        (seqs, found.next().is_some())
    }

    /// Sums up what matches.
    pub fn sum(&self, filter: &Filter) -> Summary {
        let mut summary = Summary { histogram: vec![0; BARS], ..Summary::default() };
        let mut confidence = 0.0;
        let mut counts: [BTreeMap<u16, u64>; 4] = Default::default();
        for row in self.matching(filter) {
            summary.total += 1;
            confidence += f64::from(row.confidence);
            // 1 belongs to the last bar.
            let bar = ((f64::from(row.confidence) * BARS as f64) as usize).min(BARS - 1);
            if let Some(count) = summary.histogram.get_mut(bar) {
                *count += 1;
            }
            for (counts, number) in counts.iter_mut().zip([row.label, row.sku, row.location, row.model]) {
                if number != 0 {
                    *counts.entry(number).or_default() += 1;
                }
            }
            summary.oldest = Some(summary.oldest.map_or(row.at, |at| at.min(row.at)));
            summary.newest = Some(summary.newest.map_or(row.at, |at| at.max(row.at)));
        }
        let [labels, skus, locations, models] = counts;
        (summary.unique_labels, summary.unique_skus, summary.unique_locations) =
            (labels.len() as u64, skus.len() as u64, locations.len() as u64);
        summary.mean_confidence = (summary.total > 0).then(|| confidence / summary.total as f64);
        summary.labels = named(&self.labels, &labels);
        summary.skus = named(&self.skus, &skus);
        summary.locations = named(&self.locations, &locations);
        summary.models = named(&self.models, &models);
        summary
    }

    fn matching<'a>(&'a self, filter: &'a Filter) -> impl DoubleEndedIterator<Item = &'a Row> {
        // A word that was never seen matches nothing: its number is one that no row has.
        let number = |words: &Words, word: &Option<String>| {
            word.as_ref().map(|word| words.find(word).unwrap_or(u16::MAX))
        };
        let sku = number(&self.skus, &filter.sku);
        let label = number(&self.labels, &filter.label);
        let location = number(&self.locations, &filter.location);
        let source = number(&self.sources, &filter.source);
        let is = |wanted: Option<u16>, there: u16| wanted.is_none_or(|wanted| wanted == there);
        self.rows.iter().filter(move |row| {
            is(sku, row.sku)
                && is(label, row.label)
                && is(location, row.location)
                && is(source, row.source)
                && filter.from.is_none_or(|from| row.at >= from)
                && filter.to.is_none_or(|to| row.at < to)
                && filter.min_confidence.is_none_or(|least| f64::from(row.confidence) >= least - 1e-7)
        })
    }
}

fn named(words: &Words, counts: &BTreeMap<u16, u64>) -> Vec<(String, u64)> {
    let mut all: Vec<_> =
        counts.iter().map(|(number, count)| (words.word(*number).to_string(), *count)).collect();
    all.sort_by(|(a, n), (b, m)| m.cmp(n).then_with(|| a.cmp(b)));
    all.truncate(NAMED);
    all
}

#[cfg(test)]
pub(super) use self::tests::detection as tests_detection;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    pub(crate) fn detection(
        label: &str,
        sku: Option<&str>,
        location: Option<&str>,
        confidence: f64,
        at: u64,
    ) -> Detection {
        Detection {
            detection_id: format!("d{at}"),
            label: label.into(),
            confidence,
            timestamp: Wall(at),
            sku: sku.map(str::to_string),
            location: location.map(str::to_string),
            bounding_box: None,
            source: None,
            model: Some("m-1".into()),
            frame: None,
            image_url: None,
        }
    }

    fn filled() -> Index {
        let mut index = Index::new(100);
        for (n, (label, sku, location, confidence)) in [
            ("can", Some("S1"), Some("A1"), 0.5),
            ("can", Some("S1"), Some("A2"), 0.9),
            ("box", Some("S2"), Some("A1"), 1.0),
            ("hand", None, None, 0.0),
        ]
        .into_iter()
        .enumerate()
        {
            index.add(10 + n as u64, &detection(label, sku, location, confidence, 1000 + n as u64));
        }
        index
    }

    #[test]
    fn filters_and_sums_agree() {
        let index = filled();
        let by = |change: fn(&mut Filter)| {
            let mut filter = Filter::default();
            change(&mut filter);
            let (seqs, _) = index.select(&filter, None, 10);
            let sum = index.sum(&filter);
            assert_eq!(seqs.len() as u64, sum.total);
            (seqs, sum)
        };
        assert_eq!(by(|_| ()).0, [13, 12, 11, 10]);
        assert_eq!(by(|f| f.sku = Some("S1".into())).0, [11, 10]);
        assert_eq!(by(|f| f.location = Some("A1".into())).0, [12, 10]);
        assert_eq!(by(|f| f.label = Some("nothing".into())).0, [0; 0]);
        assert_eq!(by(|f| f.min_confidence = Some(0.9)).0, [12, 11]);
        assert_eq!(by(|f| (f.from, f.to) = (Some(Wall(1001)), Some(Wall(1003)))).0, [12, 11]);
        let all = by(|_| ()).1;
        assert_eq!((all.unique_skus, all.unique_labels, all.unique_locations), (2, 3, 2));
        assert!((all.mean_confidence.unwrap() - 0.6).abs() < 1e-6);
        assert_eq!((all.histogram[0], all.histogram[10], all.histogram[BARS - 1]), (1, 1, 1));
        assert_eq!(all.labels[0], ("can".into(), 2));
        assert_eq!(by(|f| f.sku = Some("S9".into())).1.mean_confidence, None);
    }

    #[test]
    fn pages_follow_each_other() {
        let index = filled();
        let filter = Filter::default();
        let (first, more) = index.select(&filter, None, 3);
        assert_eq!((first.as_slice(), more), (&[13, 12, 11][..], true));
        assert_eq!(index.select(&filter, first.last().copied(), 3), (vec![10], false));
    }

    #[test]
    fn the_oldest_go() {
        let mut index = Index::new(3);
        (1..=5).for_each(|n| index.add(n, &detection("x", None, None, 0.5, n)));
        index.add(5, &detection("again", None, None, 0.5, 5));
        assert_eq!(index.select(&Filter::default(), None, 9).0, [5, 4, 3]);
        index.forget_through(4);
        assert_eq!(index.len(), 1);
    }

    proptest! {
        #[test]
        fn words_without_end_are_bounded(count in 1..20_000_usize) {
            let mut index = Index::new(50);
            for n in (0..count).step_by(7) {
                index.add(n as u64 + 1, &detection("x", Some(&format!("S{n}")), None, 0.5, n as u64));
            }
            prop_assert!(index.skus.words.len() <= WORDS && index.len() <= 50);
            let named: u64 = index.sum(&Filter::default()).skus.iter().map(|(_, n)| n).sum();
            prop_assert_eq!(named, index.len() as u64);
        }
    }
}
