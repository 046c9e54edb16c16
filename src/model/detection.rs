//! What a vision process saw.

use crate::clock::Wall;
use serde::{Deserialize, Serialize};

/// A box in fractions of the image, 0 to 1, from the top left.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct BoundingBox {
    pub x: f64,
    pub y: f64,
    pub w: f64,
    pub h: f64,
}

/// `detection`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Detection {
    pub detection_id: String,
    pub label: String,
    pub confidence: f64,
    pub timestamp: Wall,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sku: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<String>,
    #[serde(default, rename = "box", skip_serializing_if = "Option::is_none")]
    pub bounding_box: Option<BoundingBox>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The image it was seen in: detections of one frame are one look.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frame: Option<String>,
    /// Where the image can be seen; the page only links to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_url: Option<String>,
}

/// `detection_summary`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct DetectionSummary {
    pub total: u64,
    pub unique_skus: u64,
    pub unique_labels: u64,
    pub mean_confidence: Option<f64>,
    pub discrepancies: Vec<serde_json::Value>,
    pub updated: Wall,
}
