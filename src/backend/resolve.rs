//! Names -> addresses. A name with several addresses stands for several servers.

use tokio::net::lookup_host;

use crate::limits;
use crate::link::Network;

/// The addresses of `host:port`, each as `ip:port`; the name itself when it cannot be resolved,
/// so that dialing it tells what is wrong.
pub async fn resolve(network: &Network, name: &str) -> Vec<String> {
    if matches!(network, Network::Memory(_)) || name.starts_with('/') {
        return vec![name.to_owned()];
    }
    match lookup_host(name).await {
        Ok(addresses) => {
            let mut all: Vec<String> = addresses.map(|address| address.to_string()).collect();
            all.sort_unstable();
            all.dedup();
            all.truncate(limits::ADDRESSES_PER_NAME_MAX);
            all
        }
        Err(error) => {
            tracing::warn!(%name, %error, "cannot resolve a name");
            vec![name.to_owned()]
        }
    }
}
