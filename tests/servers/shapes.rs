//! A client that invents shapes of statements faster than the limit: it is served right, by the
//! primary, and nobody else notices.

use std::time::Duration;

use forebay::wire::frame::write_packet;

use super::client::Client;
use super::proxy::Proxy;
use super::stack::{Flavour, PRIMARY, Stack, on_both, until_within};

on_both!(an_inventor_of_shapes_is_served_by_the_primary);

/// New shapes that are sent in one go: they fit in a socket, and so do their answers.
const VOLLEY: usize = 50;

/// Statements that nobody has sent before, without waiting in between; each must give its own answer.
fn invent(client: &mut Client, from: usize) {
    let numbers = from..from + VOLLEY;
    let mut out = Vec::new();
    for number in numbers.clone() {
        let sql = format!("SELECT id AS a{number} FROM note WHERE id = 1");
        write_packet(&mut out, 0, &[&[3], sql.as_bytes()].concat());
    }
    client.send_bytes(&out).unwrap();
    for number in numbers {
        let answer = client.answers().unwrap().swap_remove(0);
        assert_eq!((&*answer.columns, answer.cell()), (&[format!("a{number}")][..], "1".into()));
    }
}

fn an_inventor_of_shapes_is_served_by_the_primary(flavour: Flavour) {
    let stack = Stack::shared(flavour);
    let tenant = stack.tenant("shapes");
    let mut root = stack.root(PRIMARY);
    root.run(&format!("USE {}", tenant.name));
    root.run("CREATE TABLE note (id INT PRIMARY KEY, text VARCHAR(99))");
    root.run("INSERT INTO note VALUES (1, 'one')");
    stack.sync();
    let proxy = Proxy::start(&stack);
    let (mut inventor, mut other) = (proxy.client(&tenant), proxy.client(&tenant));
    proxy.wait_for_readers(2);
    let counted = |labels: &[&str]| proxy.metric("forebay_route_total", labels);
    let unparsed = || counted(&["target=\"primary\"", "reason=\"new_shapes\""]);
    let read = || counted(&["target=\"replica\"", "reason=\"read\""]);
    const KNOWN: &str = "SELECT text FROM note WHERE id = 1";
    other.run(KNOWN);
    assert_eq!(unparsed(), 0.0);

    let mut from = 0;
    until_within(Duration::from_secs(120), "more new shapes in a second than are parsed", || {
        for _ in 0..40 {
            invent(&mut inventor, from);
            from += VOLLEY;
        }
        unparsed() > 0.0
    });
    assert_eq!(counted(&["reason=\"new_shapes\""]), unparsed(), "to the primary and nowhere else");
    assert!(read() > 0.0, "those below the limit are reads as any other");

    let before = read();
    for _ in 0..50 {
        assert_eq!(other.cell(KNOWN), "one");
        assert_eq!(inventor.cell(KNOWN), "one");
    }
    assert_eq!(read() - before, 100.0, "what is known is read from replicas, by both");
    assert_eq!(proxy.metric("forebay_misroute_total", &[]), 0.0);
}
