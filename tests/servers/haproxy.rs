//! HAProxy in front of the program: a balancer that announces whom it passes on.

use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use super::proxy::{free_address, scratch};
use super::stack::until;

/// A running balancer; it ends with the test.
pub(crate) struct Haproxy {
    child: Child,
    pub(crate) address: String,
}

impl Haproxy {
    /// Passes everything on to `server`, with these options of its own. With a check it does so
    /// only while the server greets it.
    pub(crate) fn start(server: &str, options: &str, with_check: bool) -> Self {
        let (address, config) = (free_address(), scratch("haproxy.cfg"));
        let check = if with_check { "option mysql-check\n" } else { "" };
        let text = format!(
            "defaults\n mode tcp\n timeout connect 5s\n timeout client 60s\n timeout server 60s\n\
             listen mysql\n bind {address}\n source 127.0.0.1\n {check} \
             server forebay {server} {options}\n"
        );
        std::fs::write(&config, text).unwrap();
        let child = Command::new("haproxy")
            .args(["-db", "-f"])
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("haproxy is missing; install it with: make install");
        let haproxy = Self { child, address };
        until("haproxy listens", || TcpStream::connect(&haproxy.address).is_ok());
        haproxy
    }
}

impl Drop for Haproxy {
    fn drop(&mut self) {
        let _gone = (self.child.kill(), self.child.wait());
    }
}
