//! Forebay: a read/write-splitting MySQL proxy for WordPress.

pub mod limits;

pub mod wire;

pub mod sql;

pub mod position;

pub mod cluster;

pub mod freshness;

pub mod session;

#[cfg(feature = "io")]
pub mod control;

#[cfg(feature = "io")]
pub mod metrics;

#[cfg(feature = "io")]
pub mod link;

#[cfg(feature = "io")]
pub mod secret;

#[cfg(feature = "io")]
pub mod backend;

#[cfg(feature = "io")]
pub mod client;
