//! `muster services`, `muster instances` and `muster sources`.

use std::{fmt::Write as _, process::ExitCode};

use serde::Serialize;

use super::{
    admin_port::Server,
    explain::at,
    fail,
    output::{Output, reading},
    print,
    table::{Cell, Paint, Style, Table, age},
};
use crate::model::{InstancePage, ListedService, ServicePage, SourceList};

type Listed<T> = Result<T, ExitCode>;

pub(super) fn services(server: &Server, output: &Output) -> ExitCode {
    let mut all = ServicePage::default();
    let pages = pages(server, "v1/services", &[], |page: ServicePage| {
        all.services.extend(page.services);
        page.next
    });
    let all = pages.map(|()| {
        all.services.sort_by_cached_key(|service| in_order(&service.name));
        all
    });
    finish(all, output, render_services)
}

/// A name's labels from the last to the first, so that what is below a name comes after it (RFC 4034 section 6.1).
fn in_order(name: &str) -> Vec<String> {
    name.rsplit('.').map(str::to_owned).collect()
}

pub(super) fn instances(service: &str, server: &Server, output: &Output) -> ExitCode {
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

pub(super) fn sources(server: &Server, output: &Output) -> ExitCode {
    let list = server.get("v1/sources", &[]).and_then(|json| reading::<SourceList>(&json));
    finish(list, output, render_sources)
}

/// Gets one page after the other; `take` gives what the next one comes after.
fn pages<T: serde::de::DeserializeOwned>(
    server: &Server,
    path: &str,
    parameters: &[(&str, &str)],
    mut take: impl FnMut(T) -> Option<String>,
) -> Listed<()> {
    let mut after: Option<String> = None;
    loop {
        let mut given = parameters.to_vec();
        given.push(("limit", "10000"));
        given.extend(after.as_deref().map(|after| ("after", after)));
        let next = take(reading(&server.get(path, &given)?)?);
        // A server that does not go on would be asked for ever.
        if next.is_none() || next == after {
            return Ok(());
        }
        after = next;
    }
}

fn finish<T: Serialize>(list: Listed<T>, output: &Output, render: fn(&T, Paint) -> String) -> ExitCode {
    let list = match list {
        Ok(list) => list,
        Err(code) => return code,
    };
    if !output.json {
        print(&render(&list, output.paint()));
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

fn render_services(page: &ServicePage, paint: Paint) -> String {
    if page.services.is_empty() {
        return "no services: see `muster check` for the namespaces and `muster sources` for what is heard\n"
            .to_owned();
    }
    let names = ["SERVICE", "HEALTHY", "ALL", "SOURCES", "NOTE"];
    let mut table = Table::with_head(&names);
    for service in &page.services {
        table.row(service_row(service));
    }
    table.draw(0, paint)
}

fn service_row(service: &ListedService) -> Vec<Cell> {
    let healthy = service.health.get("healthy").copied().unwrap_or(0);
    let all: usize = service.health.values().sum();
    let style = match (healthy, all) {
        (healthy, all) if healthy == all && all > 0 => Style::Green,
        (1.., _) => Style::Yellow,
        (_, 0) => Style::Dim,
        _ => Style::Red,
    };
    // A further name has part of the service's instances, which part is not said here.
    let has_counts = service.service == service.name && service.alias.is_none();
    let others = service.health.iter().filter(|_| has_counts).filter(|(health, _)| *health != "healthy");
    let mut notes: Vec<String> = others.map(|(health, count)| format!("{count} {health}")).collect();
    if !service.synced {
        notes.push("not all heard".to_owned());
    }
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
        Cell::new(Style::Bold, &service.name),
        Cell::new(style, count(healthy)),
        Cell::plain(count(all)),
        Cell::plain(service.sources.join(" ")),
        Cell::new(Style::Dim, notes.join(", ")),
    ]
}

fn render_instances(page: &InstancePage, paint: Paint) -> String {
    let names = ["INSTANCE", "AT", "STATE", "AGE", "WEIGHT", "SOURCE", "ID", "REASON"];
    let mut table = Table::with_head(&names);
    for instance in &page.instances {
        for (number, report) in instance.reports.iter().enumerate() {
            let label = if number == 0 { instance.label.as_str() } else { "" };
            table.row(vec![
                Cell::new(Style::Bold, label),
                Cell::plain(at(&report.addresses, report.host.as_deref(), report.port)),
                Cell::new(Style::of_health(&report.health), &report.health),
                Cell::plain(age(report.age_seconds)),
                Cell::plain(report.weight.to_string()),
                Cell::plain(&report.source),
                Cell::plain(&report.id),
                Cell::new(Style::Dim, report.reason.clone().unwrap_or_default()),
            ]);
        }
    }
    let mut text = if page.instances.is_empty() {
        format!("{} has no instances\n", page.service)
    } else {
        table.draw(0, paint)
    };
    if !page.not_synced.is_empty() {
        let line = format!("not heard yet: {}", page.not_synced.join(", "));
        let _ = writeln!(text, "{}", paint.paint(Style::Yellow, &line));
    }
    text
}

fn render_sources(list: &SourceList, paint: Paint) -> String {
    if list.sources.is_empty() {
        return "no sources\n".to_owned();
    }
    let names = ["SOURCE", "STATE", "SYNCED", "CONNECTING", "FAILING", "UPDATES", "ERRORS", "LAST ERROR"];
    let mut table = Table::with_head(&names);
    for source in &list.sources {
        let watches = source.watches;
        let (style, state) = match source.ready {
            true if watches.failing > 0 => (Style::Yellow, "stale"),
            true => (Style::Green, "ready"),
            false => (Style::Red, "not ready"),
        };
        let count = |count: usize| if count == 0 { String::new() } else { count.to_string() };
        let errors: u64 = source.errors.values().sum();
        let last = source
            .last_error
            .as_ref()
            .map(|error| format!("{} ago, {}: {}", age(error.seconds_ago), error.watch, error.message));
        table.row(vec![
            Cell::new(Style::Bold, &source.source),
            Cell::new(style, state),
            Cell::plain(watches.synced.to_string()),
            Cell::plain(count(watches.connecting)),
            Cell::plain(count(watches.failing)),
            Cell::plain(source.updates.to_string()),
            Cell::plain(if errors == 0 { String::new() } else { errors.to_string() }),
            Cell::new(Style::Dim, last.unwrap_or_default()),
        ]);
    }
    table.draw(0, paint)
}

#[cfg(test)]
#[path = "list_tests.rs"]
mod tests;
