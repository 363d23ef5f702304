//! The closed lists of words that labels may take, and counters that are resolved over one list.
//!
//! Called by whoever counts: an enum cannot be misspelt and cannot grow without bound.

use std::marker::PhantomData;

use prometheus::{IntCounter, Registry};

use super::name::Definition;

/// A label with a fixed list of values.
pub trait Label: Copy {
    /// The words, in the order of the variants.
    const VALUES: &'static [&'static str];

    /// The place of this variant in `VALUES`.
    fn index(self) -> usize;

    /// The word for this variant.
    fn word(self) -> &'static str {
        Self::VALUES.get(self.index()).copied().unwrap_or("unknown")
    }
}

/// One counter for each value of a label.
#[derive(Debug)]
pub struct Labelled<L> {
    counters: Vec<IntCounter>,
    label: PhantomData<L>,
}

impl<L: Label> Labelled<L> {
    pub(super) fn new(
        definition: &Definition,
        registry: &Registry,
    ) -> Result<Self, prometheus::Error> {
        let family = definition.counters(registry)?;
        Self::resolve(|word| family.get_metric_with_label_values(&[word]))
    }

    pub(super) fn resolve(
        counter: impl Fn(&str) -> Result<IntCounter, prometheus::Error>,
    ) -> Result<Self, prometheus::Error> {
        let counters = L::VALUES.iter().map(|word| counter(word)).collect::<Result<_, _>>()?;
        Ok(Self { counters, label: PhantomData })
    }

    /// Counts one.
    pub fn inc(&self, label: L) {
        if let Some(counter) = self.counters.get(label.index()) {
            counter.inc();
        }
    }

    /// What was counted so far.
    #[must_use]
    pub fn count(&self, label: L) -> u64 {
        self.counters.get(label.index()).map_or(0, IntCounter::get)
    }
}

macro_rules! labels {
    ($($(#[$doc:meta])* $name:ident { $($(#[$what:meta])* $variant:ident = $word:literal,)+ })+) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[$what])* $variant,)+ }

        impl Label for $name {
            const VALUES: &'static [&'static str] = &[$($word,)+];

            fn index(self) -> usize {
                self as usize
            }
        }
    )+};
}

labels! {
    /// Where a statement went.
    Target {
        /// To the primary.
        Primary = "primary",
        /// To a replica.
        Replica = "replica",
        /// Nowhere: Forebay answered it.
        Local = "local",
        /// Nowhere: the client was told an error.
        Refused = "refused",
    }

    /// How a client's login ended.
    Login {
        /// Right, by what was learned or listed.
        Known = "known",
        /// Right, by logging in at the primary.
        Proved = "proved",
        /// Wrong name or password.
        Denied = "denied",
        /// Not looked at: a name on the deny list, no TLS where TLS is required.
        Refused = "refused",
        /// Not looked at: too many wrong passwords came from its source.
        Throttled = "throttled",
        /// The client left, was too slow, or spoke nonsense.
        Broken = "broken",
    }

    /// How a login at a server ended.
    BackendLogin {
        /// Logged in.
        Done = "ok",
        /// The server said no.
        Refused = "refused",
        /// No connection, or it broke.
        Unreachable = "unreachable",
        /// Not in time.
        TimedOut = "timed_out",
        /// The server does not speak the protocol, or asks for something we do not know.
        Malformed = "malformed",
    }

    /// Why a statement was run a second time.
    Retried {
        /// The server was lost before the first byte of its reply.
        Lost = "lost",
        /// The server was lost before the statement was sent.
        Unsent = "unsent",
        /// A replica refused it as a write.
        Refused = "refused",
        /// A replica lacks the table or the schema.
        Missing = "missing",
    }

    /// What mode `split` would have done with a read.
    Observed {
        /// A replica had what it must have seen.
        Replica = "replica",
        /// None had, or it had to go to the primary.
        Primary = "primary",
    }

    /// Rules that answer reads stale.
    Careless {
        /// Any replica.
        Eventual = "eventual",
        /// HyperDB's: any, unless its connection has written to a table that it names.
        HyperDb = "hyperdb",
    }

    /// Who is to blame for an error.
    Blame {
        /// The client asked for what it may not have.
        Client = "client",
        /// A server failed or was lost.
        Server = "server",
        /// Forebay ran out of something.
        Proxy = "proxy",
        /// The configuration does not fit the fleet.
        Config = "config",
    }
}
