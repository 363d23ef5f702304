//! End to end: the program, against real servers that replicate, used by real clients.
//!
//! Everything runs on `deploy/local/stack`: one for each kind of server, shared by all tests of a
//! run (see `servers::stack`). Run by `make test`; needs feature `servers`. A server or a client
//! program that is missing is a failure that names the command which installs it.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test that cannot go on has failed"
)]

mod servers {
    pub(crate) mod balancer;
    pub(crate) mod client;
    pub(crate) mod general_log;
    pub(crate) mod haproxy;
    pub(crate) mod late;
    pub(crate) mod proxy;
    pub(crate) mod stack;
    pub(crate) mod statement;

    mod attributes;
    mod bad_input;
    mod bytes;
    mod collation;
    mod commands;
    mod crowd;
    mod doctor;
    mod doors;
    mod drivers;
    mod faults;
    mod flow;
    mod follow;
    mod freshness;
    mod kill;
    mod leaks;
    mod local_file;
    mod logins;
    mod lost;
    mod matrix;
    mod observe;
    mod operations;
    mod pairs;
    mod pool;
    mod position;
    mod preamble;
    mod prepared;
    mod progress;
    mod rotation;
    mod routing;
    mod sessions;
    mod settings;
    mod shapes;
    mod sharing;
    mod smuggling;
    mod traps;
    mod trust;
    mod unfit;
    mod views;
    mod workload;
}
