//! Many instances: the cost of loading and keeping them, and of their changes for the catalog and
//! for clients.

use std::time::{Duration, Instant};

use anyhow::bail;

use crate::{
    bench::Bench,
    cases::thousands,
    child::{Asker, Server},
    generator::{Generator, Random},
    question::{Expect, INSTANCES, Kind, Template},
    results::{Latency, Scale},
    server::CATALOG_THREAD,
};

/// How long a change may take to show.
const VISIBLE: Duration = Duration::from_secs(5);

pub(crate) fn measure(bench: &Bench) -> anyhow::Result<Scale> {
    let plan = &bench.plan;
    let instances = u64::from(plan.many) * u64::from(INSTANCES);
    println!("{} instances", thousands(instances));
    let mut server = bench.muster(plan.many)?;
    let memory = server.account.memory()?;
    let visible = visible_after(&mut server, plan.many, plan.visible)?;

    let mut load = bench.load(&server, Kind::A, plan.many, plan.sockets);
    // While an instance is down, its service has one fewer.
    load.expect = answers(INSTANCES - 1, INSTANCES);
    let mut generator = Generator::new(load, 1)?;
    let with = format!("with {} changes a second", thousands(plan.flips.into()));
    let mut latency = [Latency::new("without changes"), Latency::new(&with)];
    let (mut cpu_per_flip, mut flips) = (Vec::new(), Vec::new());
    for _ in 0..plan.latency_rounds {
        let [quiet, busy] = &mut latency;
        quiet.round(plan, plan.rate, &mut generator)?;

        let before = set_flips(&mut server, plan.flips)?;
        let started = (server.account.cpu_of_thread(CATALOG_THREAD)?, Instant::now());
        busy.round(plan, plan.rate, &mut generator)?;
        let after = set_flips(&mut server, 0)?;
        let cpu = server.account.cpu_of_thread(CATALOG_THREAD)?.saturating_sub(started.0);
        let count = (after - before) as f64;
        cpu_per_flip.push(cpu.as_secs_f64() * 1e6 / count);
        flips.push(count / started.1.elapsed().as_secs_f64());
    }
    let memory_after = server.account.memory()?;
    Ok(Scale {
        services: plan.many,
        instances,
        load: server.load,
        memory,
        memory_after,
        visible,
        cpu_per_flip,
        flips,
        latency,
    })
}

/// Takes instances down and up again, and times each change until an answer shows it.
fn visible_after(server: &mut Server, services: u32, changes: usize) -> anyhow::Result<Vec<f64>> {
    let template = Template::new(Kind::A);
    let mut asker = Asker::new(server.address)?;
    let mut random = Random::new(2);
    let mut times = Vec::with_capacity(changes);
    while times.len() < changes {
        let (service, instance) = (random.below(services), random.below(INSTANCES.into()));
        for (health, left) in [("unhealthy", INSTANCES - 1), ("healthy", INSTANCES)] {
            let expect = answers(left, left);
            let told = Instant::now();
            server.tell(&format!("instance {service} {instance} {health}"))?;
            while asker
                .ask(&template, service)
                .is_none_or(|answer| template.check(service, &expect, answer).is_err())
            {
                if told.elapsed() > VISIBLE {
                    bail!("an instance that became {health} does not show within {VISIBLE:?}");
                }
            }
            times.push(told.elapsed().as_secs_f64() * 1e6);
        }
    }
    Ok(times)
}

/// Sets the number of changes per second; returns how many there have been.
fn set_flips(server: &mut Server, rate: u32) -> anyhow::Result<u64> {
    server.tell(&format!("flips {rate}"))?;
    Ok(server.hear("flipped")?.parse()?)
}

fn answers(least: u16, most: u16) -> Expect {
    Expect::Answer { rcode: 0, answers: least..=most, additional: 0..=0 }
}
