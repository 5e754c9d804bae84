//! All metrics of one server, in Prometheus' text format; docs/METRICS.md lists them.

use std::time::Duration;

use prometheus::{Registry, TextEncoder, process_collector::ProcessCollector, proto::MetricFamily};

use super::{
    build_info::{COMMIT, VERSION},
    catalog::CatalogMetrics,
    forward::ForwardMetrics,
    queries::{QueryMetrics, QueryOutcome, Restriction, Transport},
    register::{Register, gauge_value},
    reloads::ReloadMetrics,
    source_status::SourceReport,
    sources,
    state::StateMetrics,
};
use crate::model::{Health, ReloadResult};

/// Every metric of one server.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    queries: QueryMetrics,
    catalog: CatalogMetrics,
    reloads: ReloadMetrics,
    state: StateMetrics,
    forward: ForwardMetrics,
}

impl Metrics {
    /// The media type of [`render`](Self::render)'s text.
    pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

    /// Makes the metrics, all at zero.
    ///
    /// # Errors
    /// When two metrics have one name, which is a bug.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let queries = QueryMetrics::register(&registry)?;
        let catalog = CatalogMetrics::register(&registry)?;
        let reloads = ReloadMetrics::register(&registry)?;
        let state = StateMetrics::register(&registry)?;
        let forward = ForwardMetrics::register(&registry)?;
        let labels = ["version", "commit"];
        let build = Register(&registry).gauges(
            "muster_build_info",
            "1; the labels identify the program.",
            &labels,
        )?;
        build.with_label_values(&[VERSION, COMMIT]).set(1);
        registry.register(Box::new(ProcessCollector::for_self()))?;
        Ok(Self { registry, queries, catalog, reloads, state, forward })
    }

    /// Counts one query. *Cost*: one relaxed atomic addition.
    #[inline]
    pub fn count(&self, transport: Transport, outcome: QueryOutcome) {
        self.queries.counter(transport, outcome).inc();
    }

    /// Counts a query that was refused, dropped or limited. *Cost*: one relaxed atomic addition.
    #[inline]
    pub fn restricted(&self, reason: Restriction) {
        self.queries.restriction(reason).inc();
    }

    /// Counts a response with TC set. *Cost*: one relaxed atomic addition.
    #[inline]
    pub fn truncated(&self) {
        self.queries.truncated.inc();
    }

    /// Counts a query that skipped a route because its client is ambiguous.
    pub fn ambiguous_client(&self) {
        self.queries.ambiguous.inc();
    }

    /// Counts an open TCP connection; [`tcp_closed`](Self::tcp_closed) must follow.
    pub fn tcp_opened(&self) {
        self.queries.connections.inc();
    }

    /// Counts a closed TCP connection.
    pub fn tcp_closed(&self) {
        self.queries.connections.dec();
    }

    /// Counts TCP connections that were closed because too many are open.
    pub fn tcp_shed(&self, count: usize) {
        self.queries.shed.inc_by(count as u64);
    }

    /// Counts updates that the catalog has applied.
    pub fn catalog_updates(&self, count: u64) {
        self.catalog.updates.inc_by(count);
    }

    /// Records the time from applying updates to answering from them.
    pub fn catalog_compiled(&self, took: Duration) {
        self.catalog.compile_seconds.observe(took.as_secs_f64());
    }

    /// Sets the contents of the catalog; `instances` in the order of [`Health::ALL`].
    pub fn catalog_holds(&self, services: usize, instances: [usize; Health::ALL.len()]) {
        self.catalog.services.set(gauge_value(services));
        for (metric, count) in self.catalog.instances.iter().zip(instances) {
            metric.set(gauge_value(count));
        }
    }

    /// Counts a reload of the configuration.
    pub fn reloaded(&self, result: ReloadResult) {
        self.reloads.count(result);
    }

    /// Counts a write of the last known good state.
    pub fn state_written(&self, is_success: bool) {
        self.state.written(is_success);
    }

    /// Sets how many members and imports were restored at the start.
    pub fn state_restored(&self, count: usize) {
        self.state.restored(count);
    }

    /// The metrics of forwarding and its cache.
    pub fn forward(&self) -> &ForwardMetrics {
        &self.forward
    }

    /// Renders all metrics, and those of `sources`, in the text format 0.0.4.
    ///
    /// # Errors
    /// When two metrics have one name, which is a bug.
    pub fn render(&self, sources: &[SourceReport]) -> Result<String, prometheus::Error> {
        TextEncoder::new().encode_to_string(&self.families(sources)?)
    }

    /// All metrics, sorted by name.
    fn families(&self, sources: &[SourceReport]) -> Result<Vec<MetricFamily>, prometheus::Error> {
        let mut families = self.registry.gather();
        families.extend(sources::families(sources)?);
        families.sort_by(|one, other| one.name().cmp(other.name()));
        Ok(families)
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, path::Path, time::Instant};

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
        assert!(fine.filtered(true) && !fine.filtered(true), "only the first one");
        lost.keep_stale_for(Duration::from_secs(60));
        lost.lost(Instant::now().checked_sub(Duration::from_secs(20)).unwrap());
        lost.failed("timeout", "no answer".into());
        lost.failed("timeout", "no answer".into());
        let guard = status.guard();
        guard.set([("flapping", 2)].into());
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
    fn counts_are_rendered() {
        let metrics = Metrics::new().unwrap();
        metrics.count(Transport::Udp, QueryOutcome::NoError);
        metrics.count(Transport::Udp, QueryOutcome::NoError);
        metrics.count(Transport::Tcp, QueryOutcome::BadVers);
        metrics.restricted(Restriction::TooLong);
        metrics.truncated();
        metrics.tcp_opened();
        metrics.tcp_opened();
        metrics.tcp_closed();
        metrics.tcp_shed(1);
        metrics.catalog_updates(5);
        metrics.catalog_compiled(Duration::from_millis(1));
        metrics.catalog_holds(7, [1, 2, 3, 4, 5]);
        assert_has(
            &rendered(&metrics),
            &[
                "muster_queries_total{rcode=\"NOERROR\",transport=\"udp\"} 2",
                "muster_queries_total{rcode=\"BADVERS\",transport=\"tcp\"} 1",
                "muster_queries_total{rcode=\"no_response\",transport=\"udp\"} 0",
                "muster_queries_restricted_total{reason=\"too_long\"} 1",
                "muster_queries_restricted_total{reason=\"denied\"} 0",
                "muster_responses_truncated_total 1",
                "muster_tcp_connections 1",
                "muster_tcp_connections_shed_total 1",
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
    fn sources_are_rendered_from_their_status() {
        let lines = rendered(&Metrics::new().unwrap());
        assert_has(
            &lines,
            &[
                "muster_source_watches{kind=\"consul\",source=\"vms\",state=\"connecting\"} 0",
                "muster_source_watches{kind=\"consul\",source=\"vms\",state=\"synced\"} 1",
                "muster_source_watches{kind=\"consul\",source=\"vms\",state=\"failing\"} 1",
                "muster_source_ready{kind=\"consul\",source=\"vms\"} 0",
                "muster_source_errors_total{error=\"timeout\",kind=\"consul\",source=\"vms\"} 2",
                "muster_source_watches_filtered{kind=\"consul\",source=\"vms\"} 1",
                "muster_source_stale_seconds{kind=\"consul\",source=\"vms\"} 20",
                "muster_source_instances_held{kind=\"consul\",reason=\"flapping\",source=\"vms\"} 2",
                "muster_source_updates_total{kind=\"consul\",source=\"vms\"} 3",
            ],
        );
    }

    #[test]
    fn metrics_do_not_need_a_source() {
        let text = Metrics::new().unwrap().render(&[]).unwrap();
        assert!(text.contains("muster_build_info{"));
        assert!(!text.contains("muster_source_"), "{text}");
    }

    #[test]
    fn two_servers_count_separately() {
        let (one, other) = (Metrics::new().unwrap(), Metrics::new().unwrap());
        one.truncated();
        assert_has(&rendered(&other), &["muster_responses_truncated_total 0"]);
    }

    /// Name, type and labels are the first three columns of the table in docs/METRICS.md.
    #[test]
    fn the_docs_list_every_metric() {
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
