//! A vision process that looks at one shelf after the other and says what it sees.

use super::super::random::Random;
use super::link::Link;
use super::out::Out;
use super::{Device, Moment, STEPS_PER_S, World, compact, round};
use crate::model::{BoundingBox, Detection, DetectionSummary};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};

/// What should stand where: location, SKU, label, how many.
const PLANOGRAM: [(&str, &str, &str, u64); 8] = [
    ("A1", "SKU-1001", "bottle", 3),
    ("A1", "SKU-1002", "can", 2),
    ("A2", "SKU-1003", "box", 4),
    ("A2", "SKU-1004", "jar", 2),
    ("B1", "SKU-2001", "bottle", 2),
    ("B1", "SKU-2002", "bag", 3),
    ("B2", "SKU-2003", "box", 2),
    ("B2", "SKU-2004", "can", 3),
];
/// Seconds between two looks.
const LOOK_S: u64 = 3;

/// See the module above.
pub(super) struct Camera {
    random: Random,
    /// Which row of the planogram is looked at next.
    next: usize,
    total: u64,
    confidence: f64,
    skus: BTreeSet<&'static str>,
    labels: BTreeSet<&'static str>,
    /// What the last look at each row counted.
    counted: BTreeMap<usize, u64>,
}

impl Camera {
    pub fn new(seed: u64) -> Self {
        Camera {
            random: Random::of(seed, "camera"),
            next: 0,
            total: 0,
            confidence: 0.0,
            skus: BTreeSet::new(),
            labels: BTreeSet::new(),
            counted: BTreeMap::new(),
        }
    }

    /// The things one look sees: as many as there should be, or one fewer or more.
    fn look(&mut self, at: Moment) -> Vec<Detection> {
        let (location, sku, label, expected) = PLANOGRAM[self.next];
        let count = match self.random.below(6) {
            0 => expected - 1,
            1 => expected + 1,
            _ => expected,
        };
        self.counted.insert(self.next, count);
        self.next = (self.next + 1) % PLANOGRAM.len();
        (0..count)
            .map(|n| {
                let w = self.random.between(0.08, 0.14);
                let h = self.random.between(0.2, 0.35);
                Detection {
                    detection_id: format!("cam1-{}-{}-{n}", compact(at.wall), at.step),
                    label: label.into(),
                    confidence: round(self.random.between(0.45, 0.99), 3),
                    timestamp: at.wall,
                    sku: Some(sku.into()),
                    location: Some(location.into()),
                    bounding_box: Some(BoundingBox {
                        x: round((0.05 + 0.18 * n as f64 + self.random.between(0.0, 0.03)).min(1.0 - w), 4),
                        y: round(self.random.between(0.3, 0.6).min(1.0 - h), 4),
                        w: round(w, 4),
                        h: round(h, 4),
                    }),
                    source: Some("cam1".into()),
                    model: Some("simulated-1".into()),
                }
            })
            .collect()
    }

    fn summary(&self, at: Moment) -> DetectionSummary {
        let discrepancies = self.counted.iter().filter_map(|(row, detected)| {
            let (location, sku, label, expected) = PLANOGRAM[*row];
            let kind = match (*detected, expected) {
                (0, _) => "missing",
                (seen, wanted) if seen < wanted => "low",
                (seen, wanted) if seen > wanted => "over",
                _ => return None,
            };
            Some(json!({
                "location": location, "sku": sku, "label": label, "type": kind, "expected": expected, "detected": detected,
            }))
        });
        DetectionSummary {
            total: self.total,
            unique_skus: self.skus.len() as u64,
            unique_labels: self.labels.len() as u64,
            mean_confidence: (self.total > 0).then(|| round(self.confidence / self.total as f64, 4)),
            discrepancies: discrepancies.collect(),
            updated: at.wall,
        }
    }
}

impl Device for Camera {
    fn source(&self) -> &'static str {
        "cam1"
    }

    fn timeout_s(&self) -> f64 {
        5.0
    }

    fn step(&mut self, at: Moment, link: &mut Link, _: &mut World, out: &mut Out) {
        if !at.every(STEPS_PER_S * LOOK_S) {
            if at.every(STEPS_PER_S) {
                link.heard(at);
            }
            return;
        }
        let (_, sku, label, _) = PLANOGRAM[self.next];
        for detection in self.look(at) {
            if link.receive(at) {
                self.total += 1;
                self.confidence += detection.confidence;
                self.skus.insert(sku);
                self.labels.insert(label);
                out.record("detection", &detection);
            }
        }
        if link.is_open() {
            out.state(at, "detection_summary", "", &self.summary(at));
        }
    }
}
