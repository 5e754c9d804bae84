//! `muster explain`.

use std::{fmt::Write as _, net::IpAddr, process::ExitCode};

use super::{
    admin_port::Server,
    output::{Output, reading},
    print,
    table::{Cell, Paint, Style, Table, age, clean},
};
use crate::model::{
    Explained, ExplainedClient, ExplainedGroup, ExplainedInstance, ExplainedRoute, ExplainedService, FOR_ALL,
    GivenAnswer, InstanceReport, NameKind,
};

/// What is to be explained.
#[derive(Debug, clap::Args)]
pub(super) struct Question {
    /// The name that is asked for, such as web.shop
    name: String,
    /// The type of records that is asked for
    #[arg(short = 't', long = "type", value_name = "TYPE", default_value = "A")]
    qtype: String,
    /// Who would ask: an IP address
    #[arg(long, value_name = "IP", default_value = "127.0.0.1")]
    client: IpAddr,
    /// How many instances to list at most
    #[arg(long, value_name = "NUMBER", default_value_t = 1000)]
    limit: usize,
}

pub(super) fn run(question: &Question, server: &Server, output: &Output) -> ExitCode {
    let Question { name, qtype, client, limit } = question;
    let (client, limit) = (client.to_string(), limit.to_string());
    let parameters = [("name", name.as_str()), ("type", qtype), ("client", &client), ("limit", &limit)];
    let text = server.get("v1/explain", &parameters).and_then(|json| match output.json {
        true => Ok(json),
        false => reading(&json).map(|explained| render(&explained, output.paint())),
    });
    match text {
        Ok(text) => {
            print(&text);
            ExitCode::SUCCESS
        }
        Err(code) => code,
    }
}

/// All of it for people.
fn render(explained: &Explained, paint: Paint) -> String {
    let mut text = format!(
        "{} {}, asked by {}\n",
        paint.paint(Style::Bold, &clean(&explained.name)),
        clean(&explained.qtype),
        explained.client.address
    );
    let style = match explained.kind {
        NameKind::NxDomain | NameKind::NotSynced | NameKind::External => Style::Yellow,
        _ => Style::Plain,
    };
    let mut facts = Table::plain();
    let mut fact = |name: &str, style, value: String| {
        facts.row(vec![Cell::new(Style::Dim, name), Cell::new(style, value)]);
    };
    fact("found", style, explained.note.clone());
    fact("client", Style::Plain, client(&explained.client));
    if let Some(service) = &explained.service {
        fact("service", Style::Plain, service_line(service));
        for route in &service.routes {
            let style = if route.matched { Style::Plain } else { Style::Dim };
            fact(&format!("route {}", route.number), style, route_line(route));
            for group in &route.groups {
                fact(&format!("  group {}", group.number), Style::Plain, group_line(group));
            }
        }
    }
    text += &facts.draw(2, paint);
    if let Some(service) = &explained.service
        && !service.instances.is_empty()
    {
        text.push('\n');
        text += &instances(service, paint);
    }
    if let Some(answer) = &explained.answer {
        text.push('\n');
        text += &given(answer, explained.service.as_ref(), paint);
    }
    text
}

fn client(client: &ExplainedClient) -> String {
    let known = client.known_as.iter().map(|known| {
        let service = known.service.as_ref().map(|service| format!(" of {service}")).unwrap_or_default();
        format!("{}{service} ({})", known.id, known.source)
    });
    let known: Vec<_> = known.collect();
    let mut text = match known.len() {
        0 => "not known here as an instance".to_owned(),
        _ => format!("is {}", known.join(" or ")),
    };
    if client.ambiguous {
        text += "; they share the address, so where they differ it matches nothing";
    }
    if let Some(zone) = &client.zone {
        let _ = write!(text, "; in zone {zone}, region {}", client.region.as_deref().unwrap_or("unknown"));
    }
    text
}

fn service_line(explained: &ExplainedService) -> String {
    let ExplainedService { service, ttl, order, max_answers, accept, .. } = explained;
    format!(
        "{service}: TTL {ttl}, order {order}, at most {max_answers} records, accepts {}",
        accept.join(" and ")
    )
}

fn route_line(route: &ExplainedRoute) -> String {
    let matches = if route.matched { "matches" } else { "no" };
    let mut text = format!("for {}: {matches}", route.clients);
    if route.why != FOR_ALL {
        let _ = write!(text, ", {}", route.why);
    }
    if route.failed_open && route.matched {
        text += "; nothing is fit, so it fails open";
    }
    text
}

fn group_line(group: &ExplainedGroup) -> String {
    const SHOWN: usize = 8;
    let mut text = format!("{} % to {}", group.share, group.filter);
    let weight = group.weight;
    let _ = write!(text, " (weight {weight}{})", if group.strict { ", strict" } else { "" });
    if let Some(tier) = group.tier {
        let _ = write!(text, ", tier {tier}");
    }
    if let Some(seconds) = group.hold_down_seconds {
        let _ = write!(text, " held for {seconds} s more");
    }
    if let Some(near) = &group.near {
        let _ = write!(text, ", near: {near}");
    }
    if group.in_panic {
        text += ", panics: too few are fit";
    }
    if !group.records.is_empty() {
        let shown: Vec<_> = group.records.iter().take(SHOWN).map(String::as_str).collect();
        let _ = write!(text, ": {}", shown.join(", "));
    }
    if group.records.len() > SHOWN {
        let _ = write!(text, " and {} more", group.records.len() - SHOWN);
    }
    text
}

fn instances(service: &ExplainedService, paint: Paint) -> String {
    let names = ["INSTANCE", "AT", "ANSWERED", "STATE", "AGE", "WEIGHT", "GROUP", "TIER", "SOURCE", "WHY"];
    let has_groups = service.routes.iter().any(|route| route.groups.len() > 1);
    let mut table = Table::with_head(&names);
    for instance in &service.instances {
        table.row(instance_row(instance, has_groups));
        if instance.reports.len() > 1 {
            instance.reports.iter().for_each(|report| table.row(report_row(report)));
        }
    }
    let mut text = table.draw(0, paint);
    if service.omitted > 0 {
        let _ = writeln!(text, "and {} more: ask for them with --limit", service.omitted);
    }
    text
}

fn instance_row(instance: &ExplainedInstance, has_groups: bool) -> Vec<Cell> {
    let style = |style| if instance.answered { style } else { Style::Dim };
    let number = |number: Option<usize>| number.map(|number| number.to_string()).unwrap_or_default();
    let age_of = instance.reports.iter().filter(|report| report.health == instance.health);
    let answered = if instance.answered { "yes" } else { "no" };
    let source = match instance.reports.as_slice() {
        [report] => report.source.clone(),
        reports => format!("{} reports", reports.len()),
    };
    vec![
        Cell::new(style(Style::Bold), &instance.label),
        Cell::new(style(Style::Plain), at(&instance.addresses, instance.host.as_deref(), instance.port)),
        Cell::new(style(Style::Plain), answered),
        // The state keeps its colour: it is why.
        Cell::new(Style::of_health(&instance.health), &instance.health),
        Cell::new(
            style(Style::Plain),
            age_of.map(|report| report.age_seconds).min().map(age).unwrap_or_default(),
        ),
        Cell::new(style(Style::Plain), instance.weight.to_string()),
        Cell::new(style(Style::Plain), if has_groups { number(instance.group) } else { String::new() }),
        Cell::new(style(Style::Plain), number(instance.tier)),
        Cell::new(style(Style::Plain), source),
        Cell::new(style(Style::Plain), why_besides_health(instance)),
    ]
}

/// Why it is answered or not; the state is said beside it.
fn why_besides_health(instance: &ExplainedInstance) -> &str {
    let besides = instance.why.strip_prefix(instance.health.as_str());
    let besides = besides.and_then(|rest| rest.strip_prefix([':', ';']).or(rest.is_empty().then_some("")));
    besides.unwrap_or(&instance.why).trim_start()
}

/// One of several reports, below their instance.
fn report_row(report: &InstanceReport) -> Vec<Cell> {
    let dim = |text: String| Cell::new(Style::Dim, text);
    vec![
        dim(format!("  {}", report.id)),
        dim(at(&report.addresses, report.host.as_deref(), report.port)),
        dim(String::new()),
        Cell::new(Style::of_health(&report.health), &report.health),
        dim(age(report.age_seconds)),
        dim(report.weight.to_string()),
        dim(String::new()),
        dim(String::new()),
        dim(report.source.clone()),
        dim(report.reason.clone().unwrap_or_default()),
    ]
}

/// Where an instance is.
pub(super) fn at(addresses: &[IpAddr], host: Option<&str>, port: u16) -> String {
    let port = if port == 0 { String::new() } else { format!(":{port}") };
    let one = |address: &IpAddr| match address {
        IpAddr::V4(address) => format!("{address}{port}"),
        IpAddr::V6(address) if port.is_empty() => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]{port}"),
    };
    match host {
        Some(host) => format!("{host}{port}"),
        None => addresses.iter().map(one).collect::<Vec<_>>().join(" "),
    }
}

fn given(answer: &GivenAnswer, service: Option<&ExplainedService>, paint: Paint) -> String {
    let (style, code) = match answer.code.as_deref() {
        Some("NOERROR") if answer.answers.is_empty() => (Style::Yellow, "NOERROR without records (NODATA)"),
        Some("NOERROR") => (Style::Green, "NOERROR"),
        Some(code) => (Style::Red, code),
        None => (Style::Red, "none"),
    };
    let mut text = format!("{} {}", paint.paint(Style::Bold, "ANSWER"), paint.paint(style, &clean(code)));
    if let Some(why) = &answer.why {
        let _ = write!(text, ": {}", clean(why));
    }
    if answer.truncated {
        text += ", truncated: the client comes back over TCP";
    }
    text.push('\n');
    for record in &answer.answers {
        let _ = writeln!(text, "  {}", clean(record));
    }
    for record in answer.authority.iter().chain(&answer.additional) {
        let _ = writeln!(text, "{}", paint.paint(Style::Dim, &format!("  {}", clean(record))));
    }
    if answer.answers.is_empty() {
        return text;
    }
    let records: usize = service.map_or(0, |service| {
        service.routes.iter().flat_map(|route| &route.groups).map(|group| group.records.len()).sum()
    });
    if let Some(service) = service.filter(|_| records > 1) {
        let next = match service.order.as_str() {
            "rotate" => "The next answer begins one further.",
            "weighted" => "The first record follows the weights from answer to answer.",
            _ => "Each answer is shuffled.",
        };
        let has_split =
            service.routes.iter().any(|route| route.groups.iter().filter(|g| g.share > 0.0).count() > 1);
        let split = if has_split { " Each is from one group, by the groups' shares." } else { "" };
        let _ = writeln!(text, "{}", paint.paint(Style::Dim, &format!("{next}{split}")));
    }
    text
}

#[cfg(test)]
#[path = "explain_tests.rs"]
mod tests;
