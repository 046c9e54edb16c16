//! A vision process that looks at one shelf after the other and says what it sees.

use super::super::detections::planogram::Row;
use super::link::Link;
use super::out::Out;
use super::{Device, Moment, STEPS_PER_S, compact, round};
use crate::model::{BoundingBox, Detection};
use crate::random::Random;

/// What should stand where: location, SKU, label, how many.
const PLANOGRAM: [(&str, &str, &str, u32); 8] = [
    ("A1", "SKU-1001", "bottle", 3),
    ("A1", "SKU-1002", "can", 2),
    ("A2", "SKU-1003", "box", 4),
    ("A2", "SKU-1004", "jar", 2),
    ("B1", "SKU-2001", "bottle", 2),
    ("B1", "SKU-2002", "bag", 3),
    ("B2", "SKU-2003", "box", 2),
    ("B2", "SKU-2004", "can", 3),
];
/// The places that are looked at in turn.
const LOCATIONS: [&str; 4] = ["A1", "A2", "B1", "B2"];
/// Seconds between two looks.
const LOOK_S: u64 = 3;

/// What should stand where, for who compares.
pub fn planogram() -> Vec<Row> {
    let row = |(location, sku, name, expected): &(&str, &str, &str, u32)| Row {
        location: (*location).into(),
        sku: (*sku).into(),
        expected: *expected,
        tolerance: 0,
        name: Some((*name).into()),
    };
    PLANOGRAM.iter().map(row).collect()
}

/// See the module above.
pub(super) struct Camera {
    random: Random,
    /// Which location is looked at next.
    next: usize,
    /// What stands there: it changes seldom, as customers come and shelves are filled.
    stock: [u32; PLANOGRAM.len()],
}

impl Camera {
    pub fn new(seed: u64) -> Self {
        Camera {
            random: Random::of(seed, "camera"),
            next: 0,
            stock: PLANOGRAM.map(|(.., expected)| expected),
        }
    }

    /// All things at one location, in one frame.
    fn look(&mut self, at: Moment) -> Vec<Detection> {
        let here = LOCATIONS[self.next];
        self.next = (self.next + 1) % LOCATIONS.len();
        let frame = format!("cam1-{}-{}", compact(at.wall), at.step);
        let mut seen = Vec::new();
        for (row, (location, sku, label, expected)) in PLANOGRAM.iter().enumerate() {
            if *location != here {
                continue;
            }
            match self.random.below(24) {
                0 => self.stock[row] = self.stock[row].saturating_sub(1),
                1 => self.stock[row] = (self.stock[row] + 1).min(expected + 1),
                2 | 3 => self.stock[row] = *expected,
                _ => {}
            }
            for _ in 0..self.stock[row] {
                let n = seen.len();
                let w = self.random.between(0.08, 0.11);
                let h = self.random.between(0.2, 0.35);
                let x = 0.02 + 0.125 * n as f64 + self.random.between(0.0, 0.01);
                seen.push(Detection {
                    detection_id: format!("{frame}-{n}"),
                    label: (*label).into(),
                    confidence: round(self.random.between(0.45, 0.99), 3),
                    timestamp: at.wall,
                    sku: Some((*sku).into()),
                    location: Some((*location).into()),
                    bounding_box: Some(BoundingBox {
                        x: round(x.min(1.0 - w), 4),
                        y: round(self.random.between(0.3, 0.6).min(1.0 - h), 4),
                        w: round(w, 4),
                        h: round(h, 4),
                    }),
                    source: Some("cam1".into()),
                    model: Some("simulated-1".into()),
                    frame: Some(frame.clone()),
                    image_url: None,
                });
            }
        }
        seen
    }
}

impl Device for Camera {
    fn source(&self) -> &'static str {
        "cam1"
    }

    fn timeout_s(&self) -> f64 {
        5.0
    }

    fn step(&mut self, at: Moment, link: &mut Link, out: &mut Out) {
        if !at.every(STEPS_PER_S * LOOK_S) {
            if at.every(STEPS_PER_S) {
                link.heard(at);
            }
            return;
        }
        for detection in self.look(at) {
            if link.receive(at) {
                out.record("detection", &detection);
            }
        }
    }
}
