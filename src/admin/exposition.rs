//! Builds metrics in Prometheus' text format from plain numbers. Used by `metrics` only.

use prometheus::proto::{self, MetricFamily, MetricType};
use prometheus::{Encoder, TextEncoder};

use crate::model::histogram::Histogram;

/// The families of one scrape, in the order they are written.
#[derive(Default)]
pub(super) struct Families(Vec<MetricFamily>);

impl Families {
    /// Prometheus' text format.
    pub(super) fn encode(mut self) -> Result<Vec<u8>, prometheus::Error> {
        // The encoder refuses a family without a metric: no listener, no endpoint.
        self.0.retain(|family| !family.get_metric().is_empty());
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.0, &mut text)?;
        Ok(text)
    }

    pub(super) fn gauge(&mut self, name: &str, help: &str) -> Family<'_> {
        self.family(name, help, MetricType::GAUGE)
    }

    pub(super) fn counter(&mut self, name: &str, help: &str) -> Family<'_> {
        self.family(name, help, MetricType::COUNTER)
    }

    pub(super) fn histogram(&mut self, name: &str, help: &str, values: &Histogram) {
        let buckets = values.cumulative().map(|(bound, count)| {
            let mut bucket = proto::Bucket::default();
            bucket.set_upper_bound(bound);
            bucket.set_cumulative_count(count);
            bucket
        });
        let mut histogram = proto::Histogram::default();
        histogram.set_bucket(buckets.collect());
        histogram.set_sample_count(values.count());
        histogram.set_sample_sum(values.sum().as_secs_f64());
        let mut metric = proto::Metric::default();
        metric.set_histogram(histogram);
        self.family(name, help, MetricType::HISTOGRAM)
            .0
            .mut_metric()
            .push(metric);
    }

    fn family(&mut self, name: &str, help: &str, kind: MetricType) -> Family<'_> {
        let mut family = MetricFamily::default();
        family.set_name(name.to_owned());
        family.set_help(help.to_owned());
        family.set_field_type(kind);
        Family(self.0.push_mut(family))
    }
}

/// One family: a metric for each set of labels.
pub(super) struct Family<'a>(&'a mut MetricFamily);

impl Family<'_> {
    pub(super) fn put(&mut self, labels: &[(&str, &str)], value: f64) {
        let labels = labels.iter().map(|(name, value)| {
            let mut pair = proto::LabelPair::default();
            pair.set_name((*name).to_owned());
            pair.set_value((*value).to_owned());
            pair
        });
        let mut metric = proto::Metric::from_label(labels.collect());
        if self.0.get_field_type() == MetricType::COUNTER {
            let mut counter = proto::Counter::default();
            counter.set_value(value);
            metric.set_counter(counter);
        } else {
            let mut gauge = proto::Gauge::default();
            gauge.set_value(value);
            metric.set_gauge(gauge);
        }
        self.0.mut_metric().push(metric);
    }
}

/// 1 for yes.
pub(super) fn flag(yes: bool) -> f64 {
    if yes { 1.0 } else { 0.0 }
}

/// Prometheus' numbers are floats; above 2^53 the last digits are lost, which no rate sees.
#[expect(clippy::cast_precision_loss)]
pub(super) fn float(count: u64) -> f64 {
    count as f64
}
