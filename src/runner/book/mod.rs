//! Placeholder in memory until the book of the rows is merged.
#![allow(missing_docs, clippy::all)]
use super::data::{Column, Row};
use crate::bus::{Bus, Refused};
use crate::model::Draft;
use crate::store::{Store, StoreError};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

#[derive(Clone, Debug, Default)]
pub struct Appended {
    pub accepted: u64,
    pub duplicates: u64,
    pub last_index: Option<u64>,
}
#[derive(Debug)]
pub enum BookError {
    Conflict { measurement: String, index: u64 },
    Gap { measurement: String, expected: u64, got: u64 },
    Columns(String),
    Refused(Refused),
    Store(StoreError),
}
pub struct Book {
    bus: Arc<Bus>,
    rows: Mutex<BTreeMap<String, BTreeMap<String, (Vec<Column>, Vec<Row>)>>>,
}
impl Book {
    pub fn open(bus: Arc<Bus>, _store: Arc<Store>) -> Result<Book, StoreError> {
        Ok(Book { bus, rows: Mutex::default() })
    }
    pub fn declare(&self, scan: &str, m: &str, c: Vec<Column>) -> Result<(), BookError> {
        self.rows.lock().unwrap().entry(scan.into()).or_default().entry(m.into()).or_default().0 = c;
        Ok(())
    }
    pub fn append(
        &self,
        scan: &str,
        m: &str,
        rows: Vec<Row>,
        beside: Vec<Draft>,
    ) -> Result<Appended, BookError> {
        let mut all = self.rows.lock().unwrap();
        let own = &mut all.entry(scan.into()).or_default().entry(m.into()).or_default().1;
        let mut sum = Appended::default();
        let mut drafts = Vec::new();
        for mut row in rows {
            let index = row.sequence_index.unwrap_or(own.len() as u64);
            row.sequence_index = Some(index);
            match (index as usize).cmp(&own.len()) {
                std::cmp::Ordering::Less if own[index as usize].data == row.data => {
                    sum.duplicates += 1;
                    continue;
                }
                std::cmp::Ordering::Less => return Err(BookError::Conflict { measurement: m.into(), index }),
                std::cmp::Ordering::Greater => {
                    return Err(BookError::Gap {
                        measurement: m.into(),
                        expected: own.len() as u64,
                        got: index,
                    });
                }
                std::cmp::Ordering::Equal => {}
            }
            drafts.push(Draft::of("data_point", &json!({"scan_id": scan, "measurement": m, "sequence_index": index, "data": row.data, "t_rel": row.t_rel, "timestamp": row.timestamp})).map_err(|e| BookError::Columns(e.to_string()))?);
            own.push(row);
            sum.accepted += 1;
        }
        sum.last_index = (own.len() as u64).checked_sub(1);
        drafts.extend(beside);
        self.bus.publish_all(drafts, None).map_err(BookError::Refused)?;
        Ok(sum)
    }
    pub fn counts(&self, scan: &str) -> BTreeMap<String, u64> {
        self.rows
            .lock()
            .unwrap()
            .get(scan)
            .map(|m| m.iter().map(|(k, v)| (k.clone(), v.1.len() as u64)).collect())
            .unwrap_or_default()
    }
    pub fn measurements(&self, scan: &str) -> BTreeMap<String, Vec<Column>> {
        self.rows
            .lock()
            .unwrap()
            .get(scan)
            .map(|m| m.iter().map(|(k, v)| (k.clone(), v.0.clone())).collect())
            .unwrap_or_default()
    }
    pub fn last_index(&self, scan: &str, m: &str) -> Option<u64> {
        self.counts(scan).get(m).and_then(|n| n.checked_sub(1))
    }
    pub fn end(&self, _: &str) {}
    pub fn forget(&self, scan: &str) {
        self.rows.lock().unwrap().remove(scan);
    }
    pub fn tick(&self) {}
}
