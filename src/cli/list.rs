//! `muster services`, `muster instances` and `muster sources`.

use std::{fmt::Write as _, process::ExitCode};

use serde::Serialize;

use super::{
    admin_port::AdminPort,
    explain::member_line,
    output::{OutputArgs, fail, parse_page, print},
    table::{BOLD, Cell, DIM, GREEN, RED, Table, YELLOW, age, endpoint, health_style, staleness, styled},
};
use crate::model::{ExplainedMember, InstancePage, ListedService, MemberStatus, ServicePage, SourceList};

pub(super) fn services(server: &AdminPort, output: &OutputArgs) -> ExitCode {
    let mut all = ServicePage::default();
    let pages = pages(server, "v1/services", &[], |page: ServicePage| {
        all.services.extend(page.services);
        page.next
    });
    let all = pages.map(|()| {
        all.services.sort_by_cached_key(|service| hierarchical_order(&service.name));
        all
    });
    finish(all, output, render_services)
}

/// A name's labels from the last to the first, which sorts a name before those below it
/// (RFC 4034 section 6.1).
fn hierarchical_order(name: &str) -> Vec<String> {
    name.rsplit('.').map(str::to_owned).collect()
}

pub(super) fn instances(service: &str, server: &AdminPort, output: &OutputArgs) -> ExitCode {
    let mut all: Option<InstancePage> = None;
    let pages = pages(server, "v1/instances", &[("service", service)], |mut page: InstancePage| {
        let next = page.next.take();
        match &mut all {
            Some(all) => all.instances.extend(page.instances),
            None => all = Some(page),
        }
        next
    });
    finish(pages.and_then(|()| all.ok_or(ExitCode::FAILURE)), output, render_instances)
}

pub(super) fn sources(server: &AdminPort, output: &OutputArgs) -> ExitCode {
    let list = server.get("v1/sources", &[]).and_then(|json| parse_page::<SourceList>(&json));
    finish(list, output, render_sources)
}

/// Gets one page after the other; `take` returns where the next one starts.
fn pages<T: serde::de::DeserializeOwned>(
    server: &AdminPort,
    path: &str,
    parameters: &[(&str, &str)],
    mut take: impl FnMut(T) -> Option<String>,
) -> Result<(), ExitCode> {
    let mut after: Option<String> = None;
    loop {
        let mut given = parameters.to_vec();
        given.push(("limit", "10000"));
        given.extend(after.as_deref().map(|after| ("after", after)));
        let next = take(parse_page(&server.get(path, &given)?)?);
        // A server that repeats a page would be queried forever.
        if next.is_none() || next == after {
            return Ok(());
        }
        after = next;
    }
}

fn finish<T: Serialize>(
    list: Result<T, ExitCode>,
    output: &OutputArgs,
    render: fn(&T) -> String,
) -> ExitCode {
    let list = match list {
        Ok(list) => list,
        Err(code) => return code,
    };
    if !output.json {
        output.print_styled(&render(&list));
        return ExitCode::SUCCESS;
    }
    match serde_json::to_string(&list) {
        Ok(json) => {
            print(&(json + "\n"));
            ExitCode::SUCCESS
        }
        Err(error) => fail(&error.into()),
    }
}

fn render_services(page: &ServicePage) -> String {
    if page.services.is_empty() {
        return "no services; `muster check` lists the namespaces, `muster sources` whether sources have synced\n"
            .to_owned();
    }
    let names = ["SERVICE", "HEALTHY", "ALL", "SOURCES", "NOTE"];
    let mut table = Table::with_header(&names);
    for service in &page.services {
        table.row(service_row(service));
    }
    table.draw(0)
}

fn service_row(service: &ListedService) -> Vec<Cell> {
    let healthy = service.health.get("healthy").copied().unwrap_or(0);
    let all: usize = service.health.values().sum();
    let style = match (healthy, all) {
        (healthy, all) if healthy == all && all > 0 => GREEN,
        (1.., _) => YELLOW,
        (_, 0) => DIM,
        _ => RED,
    };
    // A subset name has some of the service's instances, but the counts are those of the service.
    let has_counts = service.service == service.name && service.alias.is_none();
    let others = service.health.iter().filter(|_| has_counts).filter(|(health, _)| *health != "healthy");
    let mut notes: Vec<String> = others.map(|(health, count)| format!("{count} {health}")).collect();
    if service.expired {
        notes.push("expired".to_owned());
    } else if !service.synced {
        notes.push("not synced".to_owned());
    }
    notes.extend(staleness(service.stale_seconds, service.expires_in_seconds));
    if service.imported {
        notes.push("imported".to_owned());
    }
    match &service.alias {
        Some(target) => notes.push(format!("alias of {target}")),
        None if service.service != service.name => {
            notes.push(format!("another name for {}", service.service))
        }
        None => {}
    }
    let count = |count: usize| if has_counts { count.to_string() } else { String::new() };
    vec![
        Cell::new(BOLD, &service.name),
        Cell::new(style, count(healthy)),
        Cell::plain(count(all)),
        Cell::plain(service.sources.join(" ")),
        Cell::new(DIM, notes.join(", ")),
    ]
}

fn render_instances(page: &InstancePage) -> String {
    let names = ["INSTANCE", "ADDRESS", "HEALTH", "AGE", "WEIGHT", "SOURCE", "ID", "REASON"];
    let mut table = Table::with_header(&names);
    for instance in &page.instances {
        for (number, report) in instance.reports.iter().enumerate() {
            let label = if number == 0 { instance.label.as_str() } else { "" };
            table.row(vec![
                Cell::new(BOLD, label),
                Cell::plain(endpoint(&report.addresses, report.host.as_deref(), report.port)),
                Cell::new(health_style(&report.health), &report.health),
                Cell::plain(age(report.age_seconds)),
                Cell::plain(report.weight.to_string()),
                Cell::plain(&report.source),
                Cell::plain(&report.id),
                Cell::new(DIM, report.why()),
            ]);
        }
    }
    let mut text = if page.instances.is_empty() {
        format!("{} has no instances\n", page.service)
    } else {
        table.draw(0)
    };
    let is_current =
        |member: &ExplainedMember| member.state == MemberStatus::Synced && member.stale_seconds.is_none();
    for member in page.members.iter().filter(|member| !is_current(member)) {
        let _ = writeln!(text, "{}", styled(YELLOW, &member_line(member)));
    }
    text
}

fn render_sources(list: &SourceList) -> String {
    if list.sources.is_empty() {
        return "no sources\n".to_owned();
    }
    let names = ["SOURCE", "STATE", "SYNCED", "CONNECTING", "FAILING", "UPDATES", "ERRORS", "LAST ERROR"];
    let mut table = Table::with_header(&names);
    for source in &list.sources {
        let watches = source.watches;
        let (style, state) = match source.ready {
            true if watches.failing > 0 || source.stale_seconds.is_some() => (YELLOW, "stale"),
            true => (GREEN, "ready"),
            false => (RED, "not ready"),
        };
        let stale = staleness(source.stale_seconds, source.expires_in_seconds);
        let state = stale.filter(|_| source.ready).unwrap_or_else(|| state.to_owned());
        let count = |count: usize| if count == 0 { String::new() } else { count.to_string() };
        let errors: u64 = source.errors.values().sum();
        let last = source
            .last_error
            .as_ref()
            .map(|error| format!("{} ago, {}: {}", age(error.seconds_ago), error.watch, error.message));
        table.row(vec![
            Cell::new(BOLD, &source.source),
            Cell::new(style, state),
            Cell::plain(watches.synced.to_string()),
            Cell::plain(count(watches.connecting)),
            Cell::plain(count(watches.failing)),
            Cell::plain(source.updates.to_string()),
            Cell::plain(if errors == 0 { String::new() } else { errors.to_string() }),
            Cell::new(DIM, last.unwrap_or_default()),
        ]);
    }
    let mut text = table.draw(0);
    for source in &list.sources {
        for (why, count) in &source.held {
            let instances = if *count == 1 { "instance is" } else { "instances are" };
            let line = format!("{}: {count} {instances} not answered as it says ({why})", source.source);
            let _ = writeln!(text, "{}", styled(YELLOW, &line));
        }
        for note in &source.notes {
            let _ = writeln!(text, "{}", styled(YELLOW, &format!("{}: {note}", source.source)));
        }
    }
    text
}

#[cfg(test)]
mod tests;
