//! How it is measured, as the end of the report has it.

use std::fmt::Write as _;

use crate::{batch::BATCH, bench::Plan, cases::thousands};

/// Writes the section.
pub(crate) fn write(out: &mut String, plan: &Plan) {
    let rotation = if plan.rivals_rotate {
        "Knot's `answer-rotation` and NSD's `round-robin` are on"
    } else {
        "Knot and NSD can rotate too, but do not by default, and did not here"
    };
    let _ = write!(
        out,
        "
## Method

- Loopback only. The server and all its threads are on one core, the asking side on another. One thread answers.
- Servers take turns of {turn:.1} s, {rounds} rounds; tables give medians of the rounds. Ratios are taken within a round, then
  their median, so they can differ a little from the ratio of two medians.
- CPU time is the kernel's `schedstat` of all threads of the server, divided by right answers. Packets that a sender puts on
  loopback are carried to the receiving socket at the sender's expense, for every server alike.
- At saturation {window} questions are outstanding, from {sockets} source ports in turn (\"one port\": all from one, in batches of
  {batch}, as a forwarder asks). Names are random, each as likely as any other.
- A and NXDOMAIN are asked without EDNS, SRV with a size of 1232. Every answer is checked: id, question, response code, TC and the
  number of records (SRV with the addresses of its targets). One wrong answer fails the run; missing ones count as lost.
- The echo receives and sends batches of {batch} and answers everything with as many bytes as muster does.
- Knot and NSD have the same names and records in a zone file, TTL 0. NSD runs with minimal responses but for SRV, where they would
  leave out the addresses. muster rotates answers and knows health; {rotation}.
- muster's instances come through the catalog as a source's do; they carry an address and a port, no labels.
- Services with routes stand in a file, as those without (\"plain\") in that table do; who asks is one instance's address.
- Forwarders are muster as it is shipped, unbound with one thread and without validation, and dnsmasq with room for 10,000 names; who
  they ask is ended before answers from the cache are measured.
- Latency: one question at a time when it is due, {rate} a second, timed from when it was due; the asking side busy-waits. Servers take
  {latency_rounds} turns of {latency_turn:.1} s; tables give medians of the turns' percentiles.
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
