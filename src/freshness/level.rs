//! How fresh a read has to be, and by whose word; and how much can be known at all.

/// What a read must have seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Nothing.
    Eventual,
    /// What was written over its own connection.
    Session,
    /// What was acknowledged to anybody before its request began, and all that is known since.
    Causal,
    /// What was acknowledged to anybody before the read came.
    Strict,
}

/// Whose reads must have seen what. A user's own level counts before its schema's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Levels {
    /// Of everybody else.
    pub all: Level,
    /// By user.
    pub users: Vec<(String, Level)>,
    /// By current schema.
    pub schemas: Vec<(String, Level)>,
}

/// How much of others' writes can be seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sight {
    /// Nothing: the primary tells no position. Time has to do.
    #[default]
    None,
    /// What it has executed, whenever it is asked.
    Fences,
    /// Every write, as it comes.
    Stream,
}

impl Level {
    /// As operators write them, the weakest first.
    pub const NAMES: &'static [&'static str] = &["eventual", "session", "causal", "strict"];

    /// By its name.
    pub fn named(name: &str) -> Option<Level> {
        let all = [Level::Eventual, Level::Session, Level::Causal, Level::Strict];
        all.into_iter().find(|level| level.name() == name)
    }

    /// As operators write it.
    pub const fn name(self) -> &'static str {
        match self {
            Level::Eventual => "eventual",
            Level::Session => "session",
            Level::Causal => "causal",
            Level::Strict => "strict",
        }
    }
}

impl Levels {
    /// The same for everybody.
    pub const fn of_all(all: Level) -> Levels {
        Levels { all, users: Vec::new(), schemas: Vec::new() }
    }

    /// What a read of this user in this schema must have seen.
    pub fn of(&self, user: &[u8], schema: Option<&[u8]>) -> Level {
        let find = |list: &[(String, Level)], name: &[u8]| {
            list.iter().find(|(known, _)| known.as_bytes() == name).map(|(_, level)| *level)
        };
        let of_schema = || find(&self.schemas, schema?);
        find(&self.users, user).or_else(of_schema).unwrap_or(self.all)
    }
}

#[cfg(test)]
mod tests {
    use super::{Level, Levels};

    #[test]
    fn a_user_counts_before_a_schema() {
        let levels = Levels {
            all: Level::Causal,
            users: vec![("reports".into(), Level::Eventual)],
            schemas: vec![("shop".into(), Level::Strict)],
        };
        let check = |user: &str, schema: Option<&str>, expected| {
            assert_eq!(levels.of(user.as_bytes(), schema.map(str::as_bytes)), expected);
        };
        check("wordpress", None, Level::Causal);
        check("wordpress", Some("blog"), Level::Causal);
        check("wordpress", Some("shop"), Level::Strict);
        check("reports", Some("shop"), Level::Eventual);
        check("reports", None, Level::Eventual);
    }

    #[test]
    fn names() {
        for name in Level::NAMES {
            assert_eq!(Level::named(name).map(Level::name), Some(*name));
        }
        assert_eq!(Level::named("Causal"), None);
        assert!(Level::Eventual < Level::Session && Level::Causal < Level::Strict);
    }
}
