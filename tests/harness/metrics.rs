//! What the functions tell about themselves, heard by one test alone.

use std::collections::BTreeMap;

use metrics_util::debugging::{DebugValue, DebuggingRecorder};

/// Does `work` and returns the metrics it told, by name: each value of a histogram, the sum of a counter.
pub fn telling(work: impl Future<Output = ()>) -> BTreeMap<String, Vec<f64>> {
    let mut told: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for ((name, _), values) in telling_labelled(work) {
        told.entry(name).or_default().extend(values);
    }
    told
}

/// The same by name and label; a metric has one at most.
pub fn telling_labelled(work: impl Future<Output = ()>) -> BTreeMap<(String, String), Vec<f64>> {
    let recorder = DebuggingRecorder::new();
    // One thread, on which the recorder is the one in use: other tests' work tells it nothing.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    metrics::with_local_recorder(&recorder, || runtime.block_on(work));
    let mut told: BTreeMap<(String, String), Vec<f64>> = BTreeMap::new();
    for (key, _, _, value) in recorder.snapshotter().snapshot().into_vec() {
        let label = key.key().labels().next().map_or("", |label| label.value());
        let values = told.entry((key.key().name().to_owned(), label.to_owned())).or_default();
        match value {
            DebugValue::Counter(count) => values.push(count as f64),
            DebugValue::Gauge(value) => values.push(value.into_inner()),
            DebugValue::Histogram(all) => values.extend(all.into_iter().map(f64::from)),
        }
    }
    told
}
