//! What a replica says about its replication and its settings, and what follows for reads there.
//!
//! Lag is no finding: a replica that is behind is asked how far it is for every read. A finding
//! either keeps reads away, because its position may promise rows that it does not have, or is
//! only told to the operator. Called by `backend`'s probe and by the doctor.

use std::fmt;

/// What was seen of one replica.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Condition {
    /// What it replicates from, one by one; `None`: its account may not know.
    pub channels: Option<Vec<Channel>>,
    /// Filters that are set for all of its channels, such as `replicate_do_db=shop`.
    pub filters: Vec<String>,
    /// `@@innodb_flush_log_at_trx_commit`
    pub flush_log: Option<u8>,
    /// It was seen to restart while `flush_log` was 0, and that has not been changed.
    pub restarted_unflushed: bool,
    /// It has executed something that its primary has not.
    pub has_diverged: bool,
}

/// One source of a replica.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Channel {
    /// Its name; mostly there is one without.
    pub name: String,
    /// It fetches from its source.
    pub receives: bool,
    /// It applies what it has fetched.
    pub applies: bool,
    /// Filters of this channel.
    pub filters: Vec<String>,
    /// The number of the error that stopped it; 0: none.
    pub error: u32,
}

/// Something that the operator should know about a replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What kind of thing.
    pub fault: Fault,
    /// What exactly.
    pub detail: String,
}

/// The kinds of findings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// It leaves out a part of what it gets.
    Filtered,
    /// It has executed what its primary has not.
    Diverged,
    /// It may say that it has rows that a crash took from it.
    MayHaveLost,
    /// A crash may take rows that it says to have.
    Unflushed,
    /// It applies nothing at the moment.
    ApplierStopped,
    /// It fetches nothing at the moment.
    ReceiverStopped,
    /// It is no replica of anybody.
    NoReplica,
    /// The account may not ask how its replication is.
    Hidden,
}

impl Fault {
    /// One word for metrics.
    pub fn label(self) -> &'static str {
        match self {
            Fault::Filtered => "filtered",
            Fault::Diverged => "diverged",
            Fault::MayHaveLost => "may_have_lost",
            Fault::Unflushed => "unflushed",
            Fault::ApplierStopped => "applier_stopped",
            Fault::ReceiverStopped => "receiver_stopped",
            Fault::NoReplica => "no_replica",
            Fault::Hidden => "hidden",
        }
    }

    /// Whether reads must stay away: what such a server says of its position proves nothing.
    pub fn is_unfit(self) -> bool {
        matches!(self, Fault::Filtered | Fault::Diverged | Fault::MayHaveLost)
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl Condition {
    /// What there is to say, the worst first.
    pub fn findings(&self) -> Vec<Finding> {
        let mut found = Vec::new();
        let mut find = |fault, detail: String| found.push(Finding { fault, detail });
        let channels = self.channels.as_deref().unwrap_or_default();
        let filters = self.filters.iter().chain(channels.iter().flat_map(|it| &it.filters));
        let filters: Vec<&str> = filters.map(String::as_str).collect();
        if !filters.is_empty() {
            find(Fault::Filtered, format!("replication filter {}", filters.join(", ")));
        }
        if self.has_diverged {
            find(Fault::Diverged, "has executed what its primary has not".into());
        }
        if self.flush_log == Some(0) {
            let setting = "innodb_flush_log_at_trx_commit = 0";
            match self.restarted_unflushed {
                true => find(
                    Fault::MayHaveLost,
                    format!("restarted with {setting}: it may lack rows for ever"),
                ),
                false => find(
                    Fault::Unflushed,
                    format!("{setting}: after a crash it would lack rows for ever"),
                ),
            }
        }
        for channel in channels {
            if !channel.applies {
                find(Fault::ApplierStopped, channel.stopped("applier"));
            }
            if !channel.receives {
                find(Fault::ReceiverStopped, channel.stopped("receiver"));
            }
        }
        match &self.channels {
            None => find(Fault::Hidden, "may not ask how its replication is".into()),
            Some(channels) if channels.is_empty() => {
                find(Fault::NoReplica, "replicates from nobody".into());
            }
            Some(_) => {}
        }
        found
    }
}

impl Channel {
    // Only the number of the error: its text may hold a statement with its values.
    fn stopped(&self, what: &str) -> String {
        let name = match self.name.as_str() {
            "" => String::new(),
            name => format!(" of channel {name}"),
        };
        match self.error {
            0 => format!("{what}{name} stopped"),
            error => format!("{what}{name} stopped by error {error}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Channel, Condition, Finding};

    /// Words: `hidden`, `alone` (replicates from nobody), else `io`, `sql` (what runs), `error=N`,
    /// `filter=X`, `all=X` (a filter for all channels), `flush=N`, `restarted`, `diverged`.
    fn check(words: &str, expected: &str) {
        let mut channel = Channel::default();
        let mut it = Condition::default();
        let mut is_channel = true;
        for word in words.split_whitespace() {
            match word.split_once('=').unwrap_or((word, "")) {
                ("hidden", _) => is_channel = false,
                ("alone", _) => (it.channels, is_channel) = (Some(Vec::new()), false),
                ("io", _) => channel.receives = true,
                ("sql", _) => channel.applies = true,
                ("error", number) => channel.error = number.parse().unwrap(),
                ("filter", text) => channel.filters.push(text.into()),
                ("all", text) => it.filters.push(text.into()),
                ("flush", number) => it.flush_log = number.parse().ok(),
                ("restarted", _) => it.restarted_unflushed = true,
                ("diverged", _) => it.has_diverged = true,
                other => panic!("{other:?}"),
            }
        }
        if is_channel {
            it.channels = Some(vec![channel]);
        }
        let word = |found: &Finding| {
            let kind = if found.fault.is_unfit() { "unfit" } else { "told" };
            format!("{kind} {}: {found}", found.fault.label())
        };
        let found: Vec<_> = it.findings().iter().map(word).collect();
        assert_eq!(found.join("; "), expected, "{words}");
    }

    #[test]
    fn findings() {
        check("io sql flush=1", "");
        check("io sql flush=2", "");
        check("io sql filter=a.%", "unfit filtered: replication filter a.%");
        check("io sql all=x filter=y", "unfit filtered: replication filter x, y");
        check(
            "hidden all=x",
            "unfit filtered: replication filter x; \
            told hidden: may not ask how its replication is",
        );
        check("io sql diverged", "unfit diverged: has executed what its primary has not");
        check(
            "io sql flush=0",
            "told unflushed: innodb_flush_log_at_trx_commit = 0: after a \
            crash it would lack rows for ever",
        );
        check(
            "io sql flush=0 restarted",
            "unfit may_have_lost: restarted with \
            innodb_flush_log_at_trx_commit = 0: it may lack rows for ever",
        );
        // The operator has changed it, and so has taken note.
        check("io sql flush=1 restarted", "");
        check("io error=1032", "told applier_stopped: applier stopped by error 1032");
        check("sql", "told receiver_stopped: receiver stopped");
        check("", "told applier_stopped: applier stopped; told receiver_stopped: receiver stopped");
        check("hidden", "told hidden: may not ask how its replication is");
        check("alone", "told no_replica: replicates from nobody");
    }
}
