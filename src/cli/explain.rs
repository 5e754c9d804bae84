//! `muster explain`.

use std::{fmt::Write as _, net::IpAddr, process::ExitCode};

use super::{
    admin_port::AdminPort,
    output::{OutputArgs, parse_page, print},
    table::{
        BOLD, Cell, DIM, GREEN, PLAIN, RED, Table, YELLOW, age, clean, endpoint, health_style, staleness,
        styled,
    },
};
use crate::model::{
    Explained, ExplainedClient, ExplainedGroup, ExplainedInstance, ExplainedMember, ExplainedRoute,
    ExplainedService, FOR_EVERY_CLIENT, GivenAnswer, InstanceReport, MemberStatus, NameKind,
};

/// The query to explain.
#[derive(Debug, clap::Args)]
pub(super) struct ExplainArgs {
    /// The name to query, such as web.shop
    name: String,
    /// The record type to query
    #[arg(short = 't', long = "type", value_name = "TYPE", default_value = "A")]
    qtype: String,
    /// The client's IP address
    #[arg(long, value_name = "IP", default_value = "127.0.0.1")]
    client: IpAddr,
    /// How many instances to list at most
    #[arg(long, value_name = "NUMBER", default_value_t = 1000)]
    limit: usize,
}

pub(super) fn run(query: &ExplainArgs, server: &AdminPort, output: &OutputArgs) -> ExitCode {
    let ExplainArgs { name, qtype, client, limit } = query;
    let (client, limit) = (client.to_string(), limit.to_string());
    let parameters = [("name", name.as_str()), ("type", qtype), ("client", &client), ("limit", &limit)];
    let json = match server.get("v1/explain", &parameters) {
        Ok(json) => json,
        Err(code) => return code,
    };
    if output.json {
        print(&json);
        return ExitCode::SUCCESS;
    }
    match parse_page(&json) {
        Ok(explained) => {
            output.print_styled(&render(&explained));
            ExitCode::SUCCESS
        }
        Err(code) => code,
    }
}

/// The explanation as styled text.
fn render(explained: &Explained) -> String {
    let mut text = format!(
        "{} {}, queried by {}\n",
        styled(BOLD, &clean(&explained.name)),
        clean(&explained.qtype),
        explained.client.address
    );
    let style = match explained.kind {
        NameKind::NxDomain | NameKind::NotSynced | NameKind::External => YELLOW,
        _ => PLAIN,
    };
    let mut facts = Table::plain();
    let mut fact = |name: &str, style, value: String| {
        facts.row(vec![Cell::new(DIM, name), Cell::new(style, value)]);
    };
    fact("kind", style, explained.note.clone());
    fact("client", PLAIN, client(&explained.client));
    if let Some(service) = &explained.service {
        fact("service", PLAIN, service_line(service));
        for member in &service.members {
            fact("source", PLAIN, member_line(member));
        }
        for route in &service.routes {
            let style = if route.matched { PLAIN } else { DIM };
            fact(&format!("route {}", route.number), style, route_line(route));
            for group in &route.groups {
                fact(&format!("  group {}", group.number), PLAIN, group_line(group));
            }
        }
    }
    text += &facts.draw(2);
    if let Some(service) = &explained.service
        && !service.instances.is_empty()
    {
        text.push('\n');
        text += &instances(service);
    }
    if let Some(given) = &explained.answer {
        text.push('\n');
        text += &answer(given, explained.service.as_ref());
    }
    text
}

/// What a member's source was queried for and has reported.
pub(super) fn member_line(member: &ExplainedMember) -> String {
    let ExplainedMember { source, query, state, instances, stale_seconds, expires_in_seconds, .. } = member;
    let count = match (state, instances) {
        (MemberStatus::Synced, 1) => "1 instance".to_owned(),
        (MemberStatus::Synced, _) => format!("{instances} instances"),
        (MemberStatus::Expired, _) => "lost for longer than max_stale".to_owned(),
        (MemberStatus::Failed, _) => "not synced, and fails; see `muster sources`".to_owned(),
        (MemberStatus::NotSynced, _) => "not synced".to_owned(),
    };
    let stale = staleness(*stale_seconds, *expires_in_seconds);
    let stale = stale.map(|stale| format!(", {stale}")).unwrap_or_default();
    format!("{source}: {query}: {count}{stale}")
}

fn client(client: &ExplainedClient) -> String {
    let known = client.known_as.iter().map(|known| {
        let service = known.service.as_ref().map(|service| format!(" of {service}")).unwrap_or_default();
        format!("{}{service} ({})", known.id, known.source)
    });
    let known: Vec<_> = known.collect();
    let mut text = match known.len() {
        0 => "not known as an instance".to_owned(),
        _ => format!("known as {}", known.join(" or ")),
    };
    if client.ambiguous {
        text += "; ambiguous: they share the address, and only some of them would match";
    }
    if let Some(zone) = &client.zone {
        let _ = write!(text, "; in zone {zone}, region {}", client.region.as_deref().unwrap_or("unknown"));
    }
    text
}

fn service_line(explained: &ExplainedService) -> String {
    let ExplainedService { service, ttl, order, max_answers, accept, .. } = explained;
    let accept = accept.join(" and ");
    format!("{service}: TTL {ttl}, order {order}, at most {max_answers} records, accepts {accept}")
}

fn route_line(route: &ExplainedRoute) -> String {
    let matches = if route.matched { "matches" } else { "no" };
    let mut text = format!("for {}: {matches}", route.clients);
    if route.why != FOR_EVERY_CLIENT {
        let _ = write!(text, " ({})", route.why);
    }
    if route.failed_open && route.matched {
        text += "; no instance is eligible, so it fails open";
    }
    text
}

fn group_line(group: &ExplainedGroup) -> String {
    /// Records that one line lists.
    const MAX_RECORDS: usize = 8;
    let mut text = format!("{} % to {}", group.share, group.filter);
    let weight = group.weight;
    let _ = write!(text, " (weight {weight}{})", if group.strict { ", strict" } else { "" });
    if let Some(tier) = group.tier {
        let _ = write!(text, ", tier {tier}");
    }
    if let Some(seconds) = group.hold_down_seconds {
        let _ = write!(text, " held for another {seconds} s");
    }
    if let Some(near) = &group.near {
        let _ = write!(text, ", near: {near}");
    }
    if group.in_panic {
        text += ", in panic: too few are eligible";
    }
    if !group.records.is_empty() {
        let listed: Vec<_> = group.records.iter().take(MAX_RECORDS).map(String::as_str).collect();
        let _ = write!(text, ": {}", listed.join(", "));
    }
    if group.records.len() > MAX_RECORDS {
        let _ = write!(text, " and {} more", group.records.len() - MAX_RECORDS);
    }
    text
}

fn instances(service: &ExplainedService) -> String {
    let names =
        ["INSTANCE", "ADDRESS", "ANSWERED", "HEALTH", "AGE", "WEIGHT", "GROUP", "TIER", "SOURCE", "WHY"];
    let has_groups = service.routes.iter().any(|route| route.groups.len() > 1);
    let mut table = Table::with_header(&names);
    for instance in &service.instances {
        table.row(instance_row(instance, has_groups));
        if instance.reports.len() > 1 {
            instance.reports.iter().for_each(|report| table.row(report_row(report)));
        }
    }
    let mut text = table.draw(0);
    if service.omitted > 0 {
        let _ = writeln!(text, "and {} more; raise --limit to list them", service.omitted);
    }
    text
}

fn instance_row(instance: &ExplainedInstance, has_groups: bool) -> Vec<Cell> {
    let style = |style| if instance.answered { style } else { DIM };
    let number = |number: Option<usize>| number.map(|number| number.to_string()).unwrap_or_default();
    let age_of = instance.reports.iter().filter(|report| report.health == instance.health);
    let answered = if instance.answered { "yes" } else { "no" };
    let source = match instance.reports.as_slice() {
        [report] => report.source.clone(),
        reports => format!("{} reports", reports.len()),
    };
    vec![
        Cell::new(style(BOLD), &instance.label),
        Cell::new(style(PLAIN), endpoint(&instance.addresses, instance.host.as_deref(), instance.port)),
        Cell::new(style(PLAIN), answered),
        // In color even when the rest is dim: the health is the usual reason.
        Cell::new(health_style(&instance.health), &instance.health),
        Cell::new(style(PLAIN), age_of.map(|report| report.age_seconds).min().map(age).unwrap_or_default()),
        Cell::new(style(PLAIN), instance.weight.to_string()),
        Cell::new(style(PLAIN), if has_groups { number(instance.group) } else { String::new() }),
        Cell::new(style(PLAIN), number(instance.tier)),
        Cell::new(style(PLAIN), source),
        Cell::new(style(PLAIN), reason(instance)),
    ]
}

/// Why the instance is answered or not, and how its only report is held. Several reports have rows of
/// their own.
fn reason(instance: &ExplainedInstance) -> String {
    let reason = reason_besides_health(instance);
    match instance.reports.as_slice() {
        [InstanceReport { held: Some(held), .. }] => format!("{reason}; {held}"),
        _ => reason.to_owned(),
    }
}

/// The reason without the health at its beginning, which has a column of its own.
fn reason_besides_health(instance: &ExplainedInstance) -> &str {
    let besides = instance.why.strip_prefix(instance.health.as_str());
    let besides = besides.and_then(|rest| rest.strip_prefix([':', ';']).or(rest.is_empty().then_some("")));
    besides.unwrap_or(&instance.why).trim_start()
}

/// One of several reports, below their instance.
fn report_row(report: &InstanceReport) -> Vec<Cell> {
    let dim = |text: String| Cell::new(DIM, text);
    vec![
        dim(format!("  {}", report.id)),
        dim(endpoint(&report.addresses, report.host.as_deref(), report.port)),
        dim(String::new()),
        Cell::new(health_style(&report.health), &report.health),
        dim(age(report.age_seconds)),
        dim(report.weight.to_string()),
        dim(String::new()),
        dim(String::new()),
        dim(report.source.clone()),
        dim(report.why()),
    ]
}

fn answer(answer: &GivenAnswer, service: Option<&ExplainedService>) -> String {
    let (style, code) = match answer.code.as_deref() {
        Some("NOERROR") if answer.answers.is_empty() => (YELLOW, "NOERROR without records (NODATA)"),
        Some("NOERROR") => (GREEN, "NOERROR"),
        Some(code) => (RED, code),
        None => (RED, "none"),
    };
    let mut text = format!("{} {}", styled(BOLD, "ANSWER"), styled(style, &clean(code)));
    if let Some(why) = &answer.why {
        let _ = write!(text, ": {}", clean(why));
    }
    if answer.truncated {
        text += ", truncated: the client retries over TCP";
    }
    text.push('\n');
    for record in &answer.answers {
        let _ = writeln!(text, "  {}", clean(record));
    }
    for record in answer.authority.iter().chain(&answer.additional) {
        let _ = writeln!(text, "{}", styled(DIM, &format!("  {}", clean(record))));
    }
    if answer.answers.is_empty() {
        return text;
    }
    let records: usize = service.map_or(0, |service| {
        service.routes.iter().flat_map(|route| &route.groups).map(|group| group.records.len()).sum()
    });
    if let Some(service) = service.filter(|_| records > 1) {
        let next = match service.order.as_str() {
            "rotate" => "The next answer starts one record later.",
            "weighted" => "The first record rotates by weight.",
            _ => "Each answer is shuffled.",
        };
        let has_split =
            service.routes.iter().any(|route| route.groups.iter().filter(|g| g.share > 0.0).count() > 1);
        let split = if has_split { " Each answer comes from one group, chosen by weight." } else { "" };
        let _ = writeln!(text, "{}", styled(DIM, &format!("{next}{split}")));
    }
    text
}

#[cfg(test)]
mod tests;
