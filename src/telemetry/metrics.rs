//! Metrics, in the text format that Prometheus reads. `docs/METRICS.md` has the list.

use std::time::Duration;

use prometheus::{
    IntGaugeVec, Opts, Registry, TextEncoder, process_collector::ProcessCollector, proto::MetricFamily,
};

use super::{
    COMMIT, ForwardMetrics, Outcome, Restriction, SourceReport, Transport, VERSION, catalog::CatalogMetrics,
    queries::QueryMetrics, reloads::ReloadMetrics, sources,
};
use crate::model::{Health, ReloadResult};

/// Every metric of one server.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    queries: QueryMetrics,
    catalog: CatalogMetrics,
    reloads: ReloadMetrics,
    forward: ForwardMetrics,
}

impl Metrics {
    /// The media type of [`render`](Self::render)'s text.
    pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

    /// Makes the metrics, all at zero.
    ///
    /// # Errors
    /// When two metrics have one name, which is a mistake in the program.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let queries = QueryMetrics::register(&registry)?;
        let catalog = CatalogMetrics::register(&registry)?;
        let reloads = ReloadMetrics::register(&registry)?;
        let forward = ForwardMetrics::register(&registry)?;
        let build = IntGaugeVec::new(
            Opts::new("muster_build_info", "1; the labels say which program this is."),
            &["version", "commit"],
        )?;
        build.with_label_values(&[VERSION, COMMIT]).set(1);
        registry.register(Box::new(build))?;
        registry.register(Box::new(ProcessCollector::for_self()))?;
        Ok(Self { registry, queries, catalog, reloads, forward })
    }

    /// Counts one query. *Cost*: one relaxed atomic addition.
    #[inline]
    pub fn count(&self, transport: Transport, outcome: Outcome) {
        self.queries.counter(transport, outcome).inc();
    }

    /// Counts a query that was not answered as for other clients. *Cost*: one relaxed atomic addition.
    #[inline]
    pub fn restricted(&self, reason: Restriction) {
        self.queries.restriction(reason).inc();
    }

    /// Counts a response that was sent with TC. *Cost*: one relaxed atomic addition.
    #[inline]
    pub fn truncated(&self) {
        self.queries.truncated.inc();
    }

    /// Counts a query that a route would be for if its address were one client's alone.
    pub fn ambiguous_client(&self) {
        self.queries.ambiguous.inc();
    }

    /// Notes that a TCP connection was opened; [`tcp_closed`](Self::tcp_closed) must follow.
    pub fn tcp_opened(&self) {
        self.queries.connections.inc();
    }

    /// Notes that a TCP connection was closed.
    pub fn tcp_closed(&self) {
        self.queries.connections.dec();
    }

    /// Counts a TCP connection that was closed at once because too many are open.
    pub fn tcp_refused(&self) {
        self.queries.refused.inc();
    }

    /// Counts updates that the catalog has taken in.
    pub fn catalog_updates(&self, count: u64) {
        self.catalog.updates.inc_by(count);
    }

    /// Notes how long it took until the updates taken in were answered from.
    pub fn catalog_compiled(&self, took: Duration) {
        self.catalog.compile_seconds.observe(took.as_secs_f64());
    }

    /// Notes what the catalog holds now; `instances` in the order of [`Health::ALL`].
    pub fn catalog_holds(&self, services: usize, instances: [usize; Health::ALL.len()]) {
        let gauge = |count| i64::try_from(count).unwrap_or(i64::MAX);
        self.catalog.services.set(gauge(services));
        for (metric, count) in self.catalog.instances.iter().zip(instances) {
            metric.set(gauge(count));
        }
    }

    /// Counts a reload of the configuration.
    pub fn reloaded(&self, result: ReloadResult) {
        self.reloads.count(result);
    }

    /// The metrics of forwarding and its cache.
    pub fn forward(&self) -> &ForwardMetrics {
        &self.forward
    }

    /// Writes all metrics, with those of `sources` as they are now, in the text format 0.0.4.
    ///
    /// # Errors
    /// When two metrics have one name, which is a mistake in the program.
    pub fn render(&self, sources: &[SourceReport]) -> Result<String, prometheus::Error> {
        TextEncoder::new().encode_to_string(&self.families(sources)?)
    }

    /// All metrics in the order of their names.
    fn families(&self, sources: &[SourceReport]) -> Result<Vec<MetricFamily>, prometheus::Error> {
        let mut families = self.registry.gather();
        families.extend(sources::families(sources)?);
        families.sort_by(|one, other| one.name().cmp(other.name()));
        Ok(families)
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, path::Path};

    use super::*;
    use crate::model::{SourceId, SourceKind};
    use crate::telemetry::StatusBoard;

    /// One source with one failing and one synced watch.
    fn reports() -> Vec<SourceReport> {
        let mut board = StatusBoard::default();
        let status = board.add(SourceId { kind: SourceKind::Consul, name: "vms".into() });
        let (lost, fine) = (status.watch("service a"), status.watch("service b"));
        fine.synced();
        fine.sent(3);
        lost.failed("timeout", "no answer".into());
        lost.failed("timeout", "no answer".into());
        board.reports()
    }

    fn rendered(metrics: &Metrics) -> BTreeSet<String> {
        metrics.render(&reports()).unwrap().lines().map(str::to_owned).collect()
    }

    #[track_caller]
    fn assert_has(lines: &BTreeSet<String>, expected: &[&str]) {
        for line in expected {
            assert!(lines.contains(*line), "no line {line:?} in {lines:#?}");
        }
    }

    #[test]
    fn what_was_counted_is_rendered() {
        let metrics = Metrics::new().unwrap();
        metrics.count(Transport::Udp, Outcome::NoError);
        metrics.count(Transport::Udp, Outcome::NoError);
        metrics.count(Transport::Tcp, Outcome::BadVers);
        metrics.restricted(Restriction::TooLong);
        metrics.truncated();
        metrics.tcp_opened();
        metrics.tcp_opened();
        metrics.tcp_closed();
        metrics.tcp_refused();
        metrics.catalog_updates(5);
        metrics.catalog_compiled(Duration::from_millis(1));
        metrics.catalog_holds(7, [1, 2, 3, 4, 5]);
        assert_has(
            &rendered(&metrics),
            &[
                "muster_queries_total{rcode=\"NOERROR\",transport=\"udp\"} 2",
                "muster_queries_total{rcode=\"BADVERS\",transport=\"tcp\"} 1",
                "muster_queries_total{rcode=\"silence\",transport=\"udp\"} 0",
                "muster_queries_restricted_total{reason=\"too_long\"} 1",
                "muster_queries_restricted_total{reason=\"denied\"} 0",
                "muster_responses_truncated_total 1",
                "muster_tcp_connections 1",
                "muster_tcp_connections_refused_total 1",
                "muster_catalog_updates_total 5",
                "muster_catalog_services 7",
                "muster_catalog_instances{health=\"healthy\"} 1",
                "muster_catalog_instances{health=\"draining\"} 5",
                "muster_catalog_compile_seconds_count 1",
                "muster_catalog_compile_seconds_bucket{le=\"0.00064\"} 0",
            ],
        );
    }

    #[test]
    fn sources_are_rendered_as_they_are_now() {
        let lines = rendered(&Metrics::new().unwrap());
        assert_has(
            &lines,
            &[
                "muster_source_watches{kind=\"consul\",source=\"vms\",state=\"connecting\"} 0",
                "muster_source_watches{kind=\"consul\",source=\"vms\",state=\"synced\"} 1",
                "muster_source_watches{kind=\"consul\",source=\"vms\",state=\"failing\"} 1",
                "muster_source_ready{kind=\"consul\",source=\"vms\"} 0",
                "muster_source_errors_total{error=\"timeout\",kind=\"consul\",source=\"vms\"} 2",
                "muster_source_updates_total{kind=\"consul\",source=\"vms\"} 3",
            ],
        );
    }

    #[test]
    fn without_sources_the_rest_is_rendered() {
        let text = Metrics::new().unwrap().render(&[]).unwrap();
        assert!(text.contains("muster_build_info{"));
        assert!(!text.contains("muster_source_"), "{text}");
    }

    #[test]
    fn two_servers_count_apart() {
        let (one, other) = (Metrics::new().unwrap(), Metrics::new().unwrap());
        one.truncated();
        assert_has(&rendered(&other), &["muster_responses_truncated_total 0"]);
    }

    /// Name, type and labels of every metric, as the first three columns of `docs/METRICS.md` have them.
    #[test]
    fn the_list_in_the_docs_is_the_list_of_metrics() {
        let metrics = Metrics::new().unwrap();
        metrics.forward().upstream("192.0.2.1:53");
        let registered: BTreeSet<String> = metrics
            .families(&reports())
            .unwrap()
            .iter()
            .map(|family| {
                let kind = format!("{:?}", family.get_field_type()).to_lowercase();
                let labels = family.get_metric().first().map(|metric| metric.get_label()).unwrap_or_default();
                let labels: Vec<_> = labels.iter().map(|label| format!("`{}`", label.name())).collect();
                assert!(family.help().ends_with('.'), "help of {} is a sentence", family.name());
                format!("`{}` | {kind} | {}", family.name(), labels.join(", "))
            })
            .collect();
        let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/METRICS.md");
        let documented: BTreeSet<String> = std::fs::read_to_string(docs)
            .unwrap()
            .lines()
            .filter_map(|line| line.strip_prefix("| `"))
            .filter_map(|row| {
                let mut cells = row.split('|').map(str::trim);
                let (name, kind, labels) = (cells.next()?, cells.next()?, cells.next()?);
                let mut labels: Vec<_> = labels.split(", ").collect();
                labels.sort_unstable();
                Some(format!("`{name} | {kind} | {}", labels.join(", ")))
            })
            .collect();
        assert_eq!(documented, registered);
    }
}
