//! The method, for the end of the report.

use std::fmt::Write as _;

use crate::{batch::BATCH, bench::Plan, cases::thousands};

/// Writes the section.
pub(crate) fn write(out: &mut String, plan: &Plan) {
    let rotation = if plan.rivals_rotate {
        "Knot's `answer-rotation` and NSD's `round-robin` are on"
    } else {
        "Knot and NSD can rotate too, but not by default, and not in this run"
    };
    let _ = write!(
        out,
        "
## Method

- Loopback only. The server and all its threads are on one core, the load generator on another. One
  thread answers.
- Servers take turns of {turn:.1} s, for {rounds} rounds; tables show medians of the rounds. Ratios
  are taken within a round, then their median, so they can differ a little from the ratio of two
  medians.
- CPU time is the kernel's `schedstat` of all threads of the server, divided by correct answers. On
  loopback the sender pays for carrying its packets to the receiving socket, for every server alike.
- At saturation {window} queries are outstanding, from {sockets} source ports in turn (\"one port\":
  all from one, in batches of {batch}, as a forwarder sends them). Names are random and equally
  likely.
- A and NXDOMAIN queries have no EDNS; SRV queries announce a size of 1232. Every answer is checked:
  id, question, response code, TC and the number of records (SRV with the addresses of its targets).
  One wrong answer fails the run; missing ones count as lost.
- The echo receives and sends batches of {batch}, and answers everything with as many bytes as
  muster.
- Knot and NSD have the same names and records in a zone file, TTL 0. NSD runs with minimal
  responses, except for SRV, where they would leave out the addresses. muster rotates answers and
  knows health; {rotation}.
- muster's instances reach the catalog as a source's do. They have an address and a port, no labels.
- Services with routes are in a zone file, and so are those without (\"plain\") in that table. The
  client is one instance's address.
- The forwarders are muster with its defaults, unbound with one thread and without validation, and
  dnsmasq with room for 10,000 names. Their upstream stops before answers from the cache are
  measured.
- Latency: one query at a time, {rate} a second, timed from when it was due; the load generator
  busy-waits. Servers take {latency_rounds} turns of {latency_turn:.1} s; tables show medians of the
  turns' percentiles.
",
        turn = plan.turn.as_secs_f64(),
        rounds = plan.rounds,
        latency_rounds = plan.latency_rounds,
        latency_turn = plan.latency_turn.as_secs_f64(),
        window = plan.window,
        sockets = plan.sockets,
        batch = BATCH,
        rate = thousands(plan.rate.into()),
    );
}
