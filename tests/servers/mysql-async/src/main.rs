//! Logs in, writes a number and reads it back: what each cell of the matrix does.
//!
//!     matrix-mysql-async HOST PORT USER PASSWORD DATABASE NUMBER [CA]

use std::path::PathBuf;

use mysql_async::prelude::Queryable as _;
use mysql_async::{Conn, Error, OptsBuilder, SslOpts};

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [host, port, user, password, database, number, more @ ..] = words.as_slice() else {
        panic!("HOST PORT USER PASSWORD DATABASE NUMBER [CA]");
    };
    let tls = more.first().map(|ca| {
        SslOpts::default()
            .with_root_certs(vec![PathBuf::from(ca).into()])
            .with_disable_built_in_roots(true)
    });
    let login = OptsBuilder::default()
        .ip_or_hostname(host)
        .tcp_port(port.parse().expect("a port"))
        .user(Some(user))
        .pass(Some(password))
        .db_name(Some(database))
        .prefer_socket(false)
        .ssl_opts(tls);
    match ask(login, number.parse().expect("a number")).await {
        Ok(found) => println!("{}", found.map_or("none".to_owned(), |n| n.to_string())),
        Err(error) => println!("{error}"),
    }
}

async fn ask(login: OptsBuilder, number: u32) -> Result<Option<u32>, Error> {
    let mut link = Conn::new(login).await?;
    link.exec_drop("INSERT INTO matrix VALUES (?)", (number,)).await?;
    let found = link.exec_first("SELECT n FROM matrix WHERE n = ?", (number,)).await?;
    link.disconnect().await?;
    Ok(found)
}
